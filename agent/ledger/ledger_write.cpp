#include "agent/ledger/ledger_write.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "agent/ledger/detail_text.hpp"
#include "agent/ledger/occurrences.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

/// A report stays well below what a body of the stream may hold.
constexpr std::size_t kMostReportBytes = limits::kStreamBodyBytes / 2;

OutputStream stream_of(std::int64_t value) {
  return value == 0 ? OutputStream::standard_output : OutputStream::standard_error;
}

HeldBy held_by_of(std::int64_t value) {
  if (value == 0) return HeldBy::nobody;
  if (value == static_cast<std::int64_t>(HeldBy::device)) return HeldBy::device;
  if (value == static_cast<std::int64_t>(HeldBy::server)) return HeldBy::server;
  return HeldBy::unknown;
}

/// Lets a snapshot say of which runs it leaves the output out.
void say_left_out(CreatedReport& created, std::int64_t sequence, const LedgerWrite::LeftOut& left_out) {
  for (Run& run : created.runs) {
    const auto found = left_out.find({sequence, run.number});
    if (found == left_out.end()) continue;
    run.result = with_dropped(run.result, found->second);
    if (run.number == created.task.state.run_count)
      created.task.state.result = with_dropped(created.task.state.result, found->second);
  }
}

}  // namespace

std::string request_digest_of(TaskSpec spec) {
  spec.id.clear();
  spec.node_id.clear();
  return request_digest(spec);
}

StreamRow load_stream(storage::Database& database) {
  StreamRow row;
  auto statement = database.query(
      "SELECT node_id, hold, epoch, directive_sequence, directive_chain, report_sequence, report_chain,"
      " acknowledged_sequence, acknowledged_chain, outbox_reports, outbox_bytes, last_created, output_bytes, "
      "incomplete, alone FROM stream");
  if (!statement.step()) return row;
  row.node_id = statement.text(0);
  row.held_by = held_by_of(statement.integer(1));
  row.epoch = statement.integer(2);
  row.directives = {statement.integer(3), statement.text(4)};
  row.reports = {statement.integer(5), statement.text(6)};
  row.acknowledged = {statement.integer(7), statement.text(8)};
  row.outbox_reports = statement.integer(9);
  row.outbox_bytes = statement.integer(10);
  row.last_created = statement.text(11);
  row.output_bytes = statement.integer(12);
  row.incomplete = statement.integer(13) != 0;
  row.alone = statement.integer(14) != 0;
  return row;
}

std::string with_dropped(const std::string& result, std::int64_t dropped) {
  auto value = parse_json(result, limits::kJsonDepth + 8);
  if (!value || !value->is_object()) return result;
  // `data` may be the worker's own, whatever JSON that is: then what is known of the output is beside it.
  const bool beside =
      value->contains("output") || (value->contains("data") && !value->at("data").is_object());
  auto& facts = (*value)[beside ? "output" : "data"];
  if (!facts.is_object() && !facts.is_null()) facts = nlohmann::json::object();
  const auto before = facts.find("outputDropped");
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  const bool counts = before != facts.end() && before->is_number_integer() &&
                      (!before->is_number_unsigned() || before->get<std::uint64_t>() <= kMost) &&
                      before->get<std::int64_t>() > 0;
  const std::int64_t more = counts ? before->get<std::int64_t>() : 0;
  facts["outputDropped"] = more > kMost - dropped ? kMost : more + dropped;
  facts["truncated"] = true;
  return encode_json(*value);
}

LedgerWrite::LedgerWrite(storage::Database& database_, const Clock& clock, DurationMilliseconds awake_since_,
                         std::int64_t outbox_budget)
    : database(database_),
      now(clock.wall()),
      since_boot(clock.since_boot()),
      awake_since(awake_since_),
      stream(load_stream(database_)),
      outbox_budget_(outbox_budget) {}

void LedgerWrite::finish() {
  database.execute(
      "UPDATE stream SET node_id = ?1, hold = ?2, epoch = ?3, directive_sequence = ?4, directive_chain = ?5,"
      " report_sequence = ?6, report_chain = ?7, acknowledged_sequence = ?8, acknowledged_chain = ?9,"
      " outbox_reports = ?10, outbox_bytes = ?11, last_created = ?12, output_bytes = ?13, incomplete = ?14,"
      " alone = ?15",
      {stream.node_id, static_cast<std::int64_t>(stream.held_by), stream.epoch, stream.directives.sequence,
       stream.directives.chain, stream.reports.sequence, stream.reports.chain, stream.acknowledged.sequence,
       stream.acknowledged.chain, stream.outbox_reports, stream.outbox_bytes, stream.last_created,
       stream.output_bytes, stream.incomplete, static_cast<std::int64_t>(stream.alone)});
}

void LedgerWrite::report(Report report, TaskRow* about) {
  if (stream.epoch == 0 || (about != nullptr && is_former(*about))) return;
  report.sequence = stream.reports.sequence + 1;
  const std::string line = encode(report);
  stream.reports = agenttask::advance(stream.reports, line);
  database.execute("INSERT INTO outbox (sequence, chain, line) VALUES (?1, ?2, ?3)",
                   {stream.reports.sequence, stream.reports.chain, line});
  ++stream.outbox_reports;
  stream.outbox_bytes += static_cast<std::int64_t>(line.size());
  change.reports = true;
  if (about != nullptr) about->reported = stream.reports.sequence;
}

bool LedgerWrite::has_room_for_output(std::size_t bytes) const {
  return stream.outbox_bytes + static_cast<std::int64_t>(bytes) <= outbox_budget_ / 8 * 7;
}

void LedgerWrite::delay(TaskRow& row, DurationMilliseconds wait) const {
  row.queue = Queue::delayed;
  row.ready_at = now;
  row.delay_until = since_boot + wait;
  row.task.state.next_run_at = now + wait;
}

void LedgerWrite::save_changed(TaskRow& row) {
  Task told = row.task;
  told.spec.data = "{}";
  told.state.result.clear();
  report({0, ChangedReport{std::move(told)}}, &row);
  save_task(database, row);
  change.tasks.push_back(row.task.spec.id);
}

void LedgerWrite::save_often_changed(TaskRow& row) {
  if (row.reported <= stream.acknowledged.sequence && !outbox_is_full()) return save_changed(row);
  save_task(database, row);
  change.tasks.push_back(row.task.spec.id);
  if (stream.epoch != 0 && !is_former(row))
    database.execute("INSERT OR IGNORE INTO untold (task) VALUES (?1)", {row.sequence});
}

void LedgerWrite::tell_untold() {
  constexpr std::int64_t kAtOnce = 500;
  if (outbox_is_full()) return;
  // How they ended was told with their end.
  database.execute(
      "DELETE FROM untold WHERE task IN (SELECT sequence FROM tasks WHERE end_time IS NOT NULL AND status IN"
      " ('complete', 'failed', 'cancelled'))");
  auto rows = load_tasks(database,
                         "JOIN untold ON untold.task = tasks.sequence WHERE reported <= ?1"
                         " ORDER BY untold.task LIMIT ?2",
                         {stream.acknowledged.sequence, kAtOnce});
  for (TaskRow& row : rows) {
    if (outbox_is_full()) return;
    save_changed(row);
    database.execute("DELETE FROM untold WHERE task = ?1", {row.sequence});
  }
}

void LedgerWrite::insert_local(TaskRow& row, std::string_view digest) {
  row.task.spec.node_id = stream.node_id;
  TaskState& state = row.task.state;
  state.status = TaskStatus::sent;
  state.add_time = state.updated_at = now;
  state.sent_time = now;
  place(*this, row);
  insert_task(database, row, digest);
  database.execute("INSERT INTO local_tasks (task) VALUES (?1)", {row.sequence});
  report(created_report(row, false), &row);
  save_task(database, row);
  change.tasks.push_back(row.task.spec.id);
}

void LedgerWrite::post(const RoomMessage& message) {
  database.execute(
      "INSERT INTO messages (id, node_id, room_id, world_id, task_id, run, content, time, reported)"
      " VALUES (?1, ?9, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
      {message.id, message.room_id, message.world_id, message.task_id, message.run, message.content,
       message.time, stream.epoch == 0 ? 0 : stream.reports.sequence + 1, stream.node_id});
  report({0, MessageReport{message}});
}

Result<void> LedgerWrite::update(TaskRow& row, std::string_view changes) {
  TaskState& state = row.task.state;
  if (has_ended(state.status)) {
    return Error{ErrorCode::conflict, "the task has ended (" + std::string(to_string(state.status)) +
                                          "); what ended never changes again"};
  }
  const auto body = parse_json(changes);
  if (!body) return body.error();
  const auto parsed = parse_task_changes(*body, row.task.spec, state.add_time, now);
  if (!parsed) return parsed.error();
  auto spec = apply_changes(row.task.spec, *parsed);
  if (!spec) return spec.error();
  const std::string old_key = row.task.spec.options.concurrency_key;
  const bool rescheduled = parsed->schedule && *parsed->schedule != row.task.spec.schedule;
  const bool was_ready = row.queue == Queue::ready;
  row.task.spec = std::move(*spec);
  // A run keeps what it started with; what waits finds its place again.
  if (rescheduled) {
    place(*this, row);
  } else if (row.queue == Queue::key_held || row.queue == Queue::no_worker) {
    row.queue = Queue::ready;
  }
  state.updated_at = std::max(now, state.updated_at + 1);
  change.work = true;
  save_changed(row);
  // It was perhaps the one that the end of a run brought back: the next behind the key takes its turn.
  const bool steps_aside = was_ready && row.queue != Queue::ready;
  if (steps_aside || old_key != row.task.spec.options.concurrency_key) release_key(old_key);
  return {};
}

void LedgerWrite::end_without_run(TaskRow& row, TaskStatus status, std::string_view reason,
                                  std::string_view detail) {
  TaskState& state = row.task.state;
  state.status = status;
  state.reason = reason;
  state.detail = to_detail(detail);
  state.end_time = now;
  state.updated_at = now;
  state.next_run_at.reset();
  row.choice_due.reset();
  row.queue = Queue::none;
  report({0, EndedReport{row.task.spec.id, std::nullopt, state}}, &row);
  save_task(database, row);
  release_key(row.task.spec.options.concurrency_key);
  change.tasks.push_back(row.task.spec.id);
}

bool LedgerWrite::cancel(TaskRow& row, bool deleted) {
  TaskState& state = row.task.state;
  const bool newly_deleted = deleted && !state.deleted_at;
  if (newly_deleted) state.deleted_at = now;
  if (has_ended(state.status)) {
    if (newly_deleted) save_changed(row);
    return false;
  }
  const bool first = !state.cancel_requested_at;
  if (first) state.cancel_requested_at = now;
  if (state.status != TaskStatus::running) {
    end_without_run(row, TaskStatus::cancelled, "", "");
    return false;
  }
  if (first || newly_deleted) {
    state.updated_at = now;
    save_changed(row);
  }
  change.stop.push_back(row.task.spec.id);
  return true;
}

bool LedgerWrite::key_is_taken(std::string_view key) {
  if (key.empty()) return false;
  auto statement =
      database.query("SELECT 1 FROM tasks WHERE status = 'running' AND concurrency_key = ?1 LIMIT 1", {key});
  return statement.step();
}

bool LedgerWrite::is_startable(const TaskRow& row) {
  if (row.queue != Queue::ready) return false;
  const auto& options = row.task.spec.options;
  if (options.expires_at && *options.expires_at <= now) return false;
  // It may have been given another key since it was picked.
  return !key_is_taken(options.concurrency_key);
}

std::string_view LedgerWrite::why_nothing_starts() {
  if (stream.hold()) return reason::kHeld;
  if (!load_quarantine(database).empty()) return reason::kQuarantined;
  if (outbox_is_full()) return reason::kOutboxFull;
  return {};
}

StartedRun LedgerWrite::begin_run(TaskRow& row, const std::string& boot_id, const std::string& incarnation,
                                  bool outside) {
  TaskState& state = row.task.state;
  state.status = TaskStatus::running;
  state.reason.clear();
  state.detail.clear();
  state.start_time = state.updated_at = now;
  state.next_run_at.reset();
  ++state.run_count;
  row.queue = Queue::none;
  StartedRun run{row.task, state.run_count, make_uuid(now)};
  const std::string option = state.chosen ? state.chosen->option : std::string();
  database.execute(
      "INSERT INTO runs (task, number, run_id, boot_id, incarnation, status, reason, start_time, result,"
      " occurrence, option, outside) VALUES (?1, ?2, ?3, ?4, ?5, 'running', '', ?6, '', ?7, ?8, ?9)",
      {row.sequence, run.number, run.run_id, boot_id, incarnation, now, state.occurrence, option,
       outside ? 1 : 0});
  report({0, StartedReport{row.task.spec.id, run.number, now, state.occurrence, option}}, &row);
  run.task.spec.data = load_data(database, row.sequence);
  change.tasks.push_back(row.task.spec.id);
  return run;
}

void LedgerWrite::release_key(std::string_view key) {
  if (key.empty()) return;
  const auto released = database.execute(
      "UPDATE tasks SET queue = 1 WHERE sequence = (SELECT sequence FROM tasks WHERE queue = 3"
      " AND concurrency_key = ?1 ORDER BY priority DESC, sequence LIMIT 1)",
      {key});
  if (released > 0) change.work = true;
}

Report LedgerWrite::created_report(const TaskRow& row, bool snapshot) {
  CreatedReport created{row.task, load_runs(database, row), snapshot};
  created.task.spec.data = load_data(database, row.sequence);
  std::size_t bytes = created.task.spec.data.size() + created.task.state.result.size();
  for (auto run = created.runs.rbegin(); run != created.runs.rend(); ++run) {
    bytes += run->result.size();
    if (bytes > kMostReportBytes) run->result.clear();
  }
  return {0, std::move(created)};
}

LedgerWrite::LeftOut LedgerWrite::output_without_room() {
  std::int64_t room = outbox_budget_ / 8 * 7;
  {
    // What the tasks themselves take, about: a row's own fields are small.
    auto statement = database.query(
        "SELECT (SELECT coalesce(sum(length(result) + length(metadata) + 1024), 0) FROM tasks)"
        " + (SELECT coalesce(sum(length(data)), 0) FROM inputs)"
        " + (SELECT coalesce(sum(length(result) + 256), 0) FROM runs)",
        {});
    if (statement.step()) room -= statement.integer(0);
  }
  LeftOut left_out;
  auto statement = database.query(
      "SELECT output.task, output.run, sum(length(output.bytes)) FROM output JOIN runs ON runs.task = "
      "output.task AND runs.number = output.run GROUP BY output.task, output.run"
      " ORDER BY runs.end_time DESC, output.task DESC, output.run DESC",
      {});
  while (statement.step()) {
    const std::int64_t bytes = statement.integer(2);
    room -= bytes / 3 * 4;  // as much as bytes that are no text take on the wire
    if (room < 0) left_out[{statement.integer(0), statement.integer(1)}] = bytes;
  }
  return left_out;
}

void LedgerWrite::report_kept_output(const TaskRow& row, const LeftOut& left_out) {
  // Chunk by chunk: a task may have kept many megabytes.
  struct Place {
    std::int64_t run;
    std::int64_t stream;
    std::int64_t offset;
  };
  std::vector<Place> places;
  {
    auto statement =
        database.query("SELECT run, stream, offset FROM output WHERE task = ?1 ORDER BY run, stream, offset",
                       {row.sequence});
    while (statement.step()) {
      if (left_out.contains({row.sequence, statement.integer(0)})) continue;
      places.push_back({statement.integer(0), statement.integer(1), statement.integer(2)});
    }
  }
  for (const Place& place : places) {
    std::string bytes;
    {
      auto statement = database.query(
          "SELECT bytes FROM output WHERE task = ?1 AND run = ?2 AND stream = ?3 AND offset = ?4",
          {row.sequence, place.run, place.stream, place.offset});
      if (statement.step()) bytes = statement.text(0);
    }
    report({0, OutputReport{row.task.spec.id, place.run,
                            OutputChunk{stream_of(place.stream), place.offset, std::move(bytes)}}});
  }
}

void LedgerWrite::erase(const TaskRow& row) {
  {
    auto statement =
        database.query("SELECT coalesce(sum(length(bytes)), 0) FROM output WHERE task = ?1", {row.sequence});
    if (statement.step()) stream.output_bytes -= statement.integer(0);
  }
  database.execute("DELETE FROM tasks WHERE sequence = ?1", {row.sequence});
}

void LedgerWrite::trim_output(std::int64_t budget) {
  constexpr std::int64_t kAtOnce = 20;
  struct Kept {
    std::int64_t task;
    std::int64_t run;
    std::int64_t bytes;
  };
  while (stream.output_bytes > budget) {
    std::vector<Kept> oldest;
    {
      auto statement = database.query(
          "SELECT task, number, (SELECT sum(length(bytes)) FROM output WHERE output.task = runs.task"
          " AND output.run = runs.number) AS kept FROM runs"
          " WHERE end_time IS NOT NULL AND reported <= ?1 AND kept > 0 ORDER BY end_time LIMIT ?2",
          {stream.acknowledged.sequence, kAtOnce});
      while (statement.step()) {
        oldest.push_back({statement.integer(0), statement.integer(1), statement.integer(2)});
      }
    }
    if (oldest.empty()) return;
    for (const Kept& kept : oldest) {
      if (stream.output_bytes <= budget) return;
      database.execute("DELETE FROM output WHERE task = ?1 AND run = ?2", {kept.task, kept.run});
      stream.output_bytes -= kept.bytes;
    }
  }
}

void LedgerWrite::trim_runs(const TaskRow& row, std::int64_t keep) {
  // Enrolled, but the server has not asked for its snapshot yet: it knows of no run.
  if (!stream.node_id.empty() && !stream.alone && stream.epoch == 0) return;
  constexpr std::string_view kOld =
      " WHERE task = ?1 AND {} <= (SELECT max(number) FROM runs WHERE task = ?1 AND number <= ?2"
      " AND end_time IS NOT NULL AND reported <= ?3)";
  const auto old = [&](std::string_view column) {
    std::string text(kOld);
    return text.replace(text.find("{}"), 2, column);
  };
  const std::int64_t last = row.task.state.run_count - keep;
  if (last < 1) return;
  {
    auto statement = database.query("SELECT coalesce(sum(length(bytes)), 0) FROM output" + old("run"),
                                    {row.sequence, last, stream.acknowledged.sequence});
    if (statement.step()) stream.output_bytes -= statement.integer(0);
  }
  database.execute("DELETE FROM runs" + old("number"), {row.sequence, last, stream.acknowledged.sequence});
}

bool LedgerWrite::remembers(std::string_view id) {
  auto statement = database.query("SELECT 1 FROM remembered WHERE id = ?1", {id});
  return statement.step();
}

void LedgerWrite::report_remembered(std::string_view id) {
  EndedReport ended;
  ended.task_id = id;
  auto remembered = load_remembered(database, id);
  if (!remembered) return;
  ended.state = std::move(remembered->state);
  report({0, std::move(ended)});
}

void LedgerWrite::report_messages() {
  constexpr std::size_t kAtOnce = 100;
  for (std::int64_t last = 0;;) {
    const auto messages =
        load_messages(database, "WHERE sequence > ?1 AND node_id = ?3 ORDER BY sequence LIMIT ?2",
                      {last, kAtOnce, stream.node_id});
    for (const auto& [sequence, message] : messages) {
      report({0, MessageReport{message}});
      database.execute("UPDATE messages SET reported = ?2 WHERE sequence = ?1",
                       {sequence, stream.reports.sequence});
      last = sequence;
    }
    if (messages.size() < kAtOnce) return;
  }
}

void LedgerWrite::resync(std::int64_t epoch) {
  stream.epoch = epoch;
  stream.directives = stream.reports = stream.acknowledged = Cursor{};
  stream.outbox_reports = stream.outbox_bytes = 0;
  stream.incomplete = false;
  database.execute("DELETE FROM outbox");
  database.execute("DELETE FROM untold");
  const LeftOut left_out = output_without_room();
  std::vector<std::string> ids;
  {
    auto statement =
        database.query("SELECT id FROM tasks WHERE node_id = ?1 ORDER BY sequence", {stream.node_id});
    while (statement.step()) ids.push_back(statement.text(0));
  }
  for (const auto& id : ids) {
    auto row = load_task(database, id);
    if (!row) continue;
    Report created = created_report(*row, true);
    say_left_out(std::get<CreatedReport>(created.body), row->sequence, left_out);
    report(std::move(created), &*row);
    report_kept_output(*row, left_out);
    row->reported = stream.reports.sequence;
    database.execute("UPDATE tasks SET reported = ?2 WHERE sequence = ?1", {row->sequence, row->reported});
    database.execute("UPDATE runs SET reported = ?2 WHERE task = ?1 AND end_time IS NOT NULL",
                     {row->sequence, row->reported});
  }
  report_messages();
  std::vector<std::string> remembered;
  {
    auto statement = database.query("SELECT id FROM remembered WHERE node_id = ?1 ORDER BY end_time, id",
                                    {stream.node_id});
    while (statement.step()) remembered.push_back(statement.text(0));
  }
  for (const auto& id : remembered) report_remembered(id);
  report({0, SnapshotEndReport{static_cast<std::int64_t>(ids.size())}});
}

}  // namespace agenttask::agent
