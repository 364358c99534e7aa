#include <algorithm>
#include <utility>
#include <variant>

#include "agent/ledger/detail_text.hpp"
#include "agent/ledger/ledger_body.hpp"
#include "agent/ledger/occurrences.hpp"
#include "agent/ledger/run_requests.hpp"
#include "platform/base/error_text.hpp"
#include "platform/protocol/message.hpp"

namespace agenttask::agent {
namespace {

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

/// Enough of them for years offline; a poll carries no more than 10 000.
constexpr std::int64_t kMostPredecessors = 9000;

/// Applies directives within one transaction.
class Receiver {
 public:
  explicit Receiver(LedgerWrite& write) : write_(write) {}

  Received receive(const PollAnswer& answer);
  /// Tasks that came with it, in their order.
  [[nodiscard]] const std::vector<std::string>& arrived() const { return arrived_; }

 private:
  void apply(const Directive& directive);
  void take(const TaskDirective& directive);
  void update(std::int64_t sequence, const UpdateDirective& directive);
  void cancel(const std::string& id, bool deleted);
  void choose(std::int64_t sequence, const ChooseDirective& directive);
  /// One of pause, resume, run_now.
  void change(std::int64_t sequence, const std::string& task_id,
              Result<void> (*action)(LedgerWrite&, TaskRow&));
  void run(std::int64_t sequence, const RunDirective& directive);
  void take(const SettingsDirective& directive);
  void refuse(std::int64_t sequence, const std::string& task_id, const Error& error);
  void refuse(std::int64_t sequence, std::string task_id, std::string_view code, std::string_view message);
  [[nodiscard]] std::optional<TaskRow> load(const std::string& id);

  LedgerWrite& write_;
  Received received_;
  std::vector<std::string> arrived_;
};

Received Receiver::receive(const PollAnswer& answer) {
  Cursor& mine = write_.stream.directives;
  // Without the server's own cursor the sequence alone tells what follows.
  Cursor at = answer.after.value_or(mine);
  if (answer.after && at.sequence > mine.sequence) {
    received_.ignored = "the answer begins after a gap: it was meant for another cursor";
    return received_;
  }
  const auto chains_meet = [&] { return at.sequence != mine.sequence || at.chain == mine.chain; };
  for (const std::string& line : answer.lines) {
    if (!chains_meet()) break;
    const auto directive = decode_directive(line);
    if (!directive) {
      received_.ignored = "a line is no directive: " + directive.error().message;
      return received_;
    }
    if (!answer.after && directive->sequence <= mine.sequence) continue;
    if (directive->sequence != at.sequence + 1) {
      received_.ignored = "a directive is missing before number " + std::to_string(directive->sequence);
      return received_;
    }
    const bool is_new = at.sequence == mine.sequence;
    at = agenttask::advance(at, line);
    if (!is_new) continue;
    apply(*directive);
    mine = at;
    ++received_.applied;
  }
  if (!chains_meet()) received_.ignored = "the answer is from another past: its chain is not this device's";
  return received_;
}

void Receiver::apply(const Directive& directive) {
  std::visit(
      Overloaded{[&](const TaskDirective& body) { take(body); },
                 [&](const UpdateDirective& body) { update(directive.sequence, body); },
                 [&](const CancelDirective& body) { cancel(body.task_id, false); },
                 [&](const DeleteDirective& body) { cancel(body.task_id, true); },
                 [&](const ChooseDirective& body) { choose(directive.sequence, body); },
                 [&](const PauseDirective& body) { change(directive.sequence, body.task_id, pause); },
                 [&](const ResumeDirective& body) { change(directive.sequence, body.task_id, resume); },
                 [&](const RunDirective& body) { run(directive.sequence, body); },
                 [&](const SettingsDirective& body) { take(body); },
                 [&](const UnknownMessage& body) {
                   refuse(directive.sequence, "", "unsupported",
                          "this agent can't read a directive of kind " + body.kind + ": " + body.problem);
                 }},
      directive.body);
}

/// A task that this server speaks of is its own, also where a former node's server gave it to this device: an
/// id runs once, and who asks for it hears how it stands.
std::optional<TaskRow> Receiver::load(const std::string& id) {
  auto row = load_task(write_.database, id);
  if (!row || !write_.is_former(*row)) return row;
  row->task.spec.node_id = write_.stream.node_id;
  write_.database.execute("UPDATE tasks SET node_id = ?2 WHERE sequence = ?1",
                          {row->sequence, row->task.spec.node_id});
  const TaskState& state = row->task.state;
  // Nothing of it waits: that was cancelled when the device left the other node.
  if (has_ended(state.status)) {
    write_.report({0, EndedReport{id, std::nullopt, state}}, &*row);
  } else {
    write_.report({0, StartedReport{id, state.run_count, state.start_time.value_or(write_.now)}}, &*row);
  }
  save_task(write_.database, *row);
  return row;
}

void Receiver::take(const TaskDirective& directive) {
  const std::string id = normalize_uuid(directive.spec.id);
  if (load(id)) return;
  if (write_.remembers(id)) {
    write_.report_remembered(id);
    return;
  }
  TaskRow row;
  row.task.spec = directive.spec;
  row.task.spec.id = id;
  row.task.spec.node_id = write_.stream.node_id;
  TaskState& state = row.task.state;
  state.status = TaskStatus::sent;
  state.add_time = directive.add_time;
  state.sent_time = state.updated_at = write_.now;
  place(write_, row);
  insert_task(write_.database, row, request_digest_of(row.task.spec));
  write_.change.tasks.push_back(id);
  arrived_.push_back(id);
  // The server sees from its cursor that the task is here; that it waits for a time or a choice is news.
  if (row.queue != Queue::ready) write_.save_changed(row);
}

void Receiver::update(std::int64_t sequence, const UpdateDirective& directive) {
  const std::string id = normalize_uuid(directive.task_id);
  auto row = load(id);
  if (!row) return refuse(sequence, id, unknown_task(id));
  if (auto applied = write_.update(*row, directive.changes); !applied) refuse(sequence, id, applied.error());
}

void Receiver::cancel(const std::string& task_id, bool deleted) {
  const std::string id = normalize_uuid(task_id);
  if (auto row = load(id)) {
    (void)write_.cancel(*row, deleted);
    return;
  }
  if (write_.remembers(id)) return;
  // It may still come, in an answer that is under way or from a server that was restored: it must not run
  // then.
  write_.database.execute(
      "INSERT INTO remembered (id, digest, status, reason, end_time, node_id) VALUES (?1, ?2, 'cancelled', "
      "'',"
      " ?3, ?4)",
      {id, storage::Blob{""}, write_.now, write_.stream.node_id});
  write_.report_remembered(id);
}

void Receiver::choose(std::int64_t sequence, const ChooseDirective& directive) {
  const std::string id = normalize_uuid(directive.task_id);
  auto row = load(id);
  if (!row) return refuse(sequence, id, unknown_task(id));
  const auto chosen = agent::choose(write_, *row, directive.made, {directive.occurrence, directive.runs});
  if (chosen) return;
  const bool late = chosen.error().code == ErrorCode::conflict && row->task.state.chosen;
  refuse(sequence, id, late ? "already-chosen" : to_string(chosen.error().code), chosen.error().message);
}

void Receiver::change(std::int64_t sequence, const std::string& task_id,
                      Result<void> (*action)(LedgerWrite&, TaskRow&)) {
  const std::string id = normalize_uuid(task_id);
  auto row = load(id);
  if (!row) return refuse(sequence, id, unknown_task(id));
  if (auto changed = change_row(write_, *row, action); !changed) refuse(sequence, id, changed.error());
}

void Receiver::run(std::int64_t sequence, const RunDirective& directive) {
  const std::string id = normalize_uuid(directive.task_id);
  const auto row = load(id);
  if (row) {
    const std::string why_not = note_run_request(write_.database, *row, directive);
    if (!why_not.empty()) return refuse(sequence, id, "conflict", why_not);
  }
  change(sequence, id, run_now);
}

void Receiver::take(const SettingsDirective& directive) {
  if (!directive.hold || *directive.hold == write_.stream.hold()) return;
  write_.stream.held_by = *directive.hold ? HeldBy::server : HeldBy::nobody;
  write_.change.hold = write_.change.work = true;
}

void Receiver::refuse(std::int64_t sequence, const std::string& task_id, const Error& error) {
  const bool ended = error.code == ErrorCode::conflict && (error.field.empty() || error.field == "status");
  refuse(sequence, task_id, ended ? "ended" : to_string(error.code),
         ended ? error.message : with_field(error.field, error.message));
}

void Receiver::refuse(std::int64_t sequence, std::string task_id, std::string_view code,
                      std::string_view message) {
  ++received_.refused;
  write_.report({0, RefusedReport{sequence, std::move(task_id), std::string(code), to_detail(message)}});
}

/// What the answer says of a quarantine holds until another says otherwise, also after a restart.
void take_quarantine(LedgerWrite& write, const std::string& reason) {
  if (reason == load_quarantine(write.database)) return;
  write.database.commits(commit_point::kQuarantineNoted);
  write.database.execute("DELETE FROM quarantine");
  if (!reason.empty())
    write.database.execute("INSERT INTO quarantine (only_row, reason) VALUES (1, ?1)", {reason});
  write.change.hold = write.change.work = true;
}

/// All that is ready, in the order of the queue, where that is nothing but what has just arrived: whoever
/// waits already comes first. Otherwise nothing.
std::vector<std::string> ready_alone(LedgerWrite& write, const std::vector<std::string>& arrived) {
  std::vector<std::string> ready;
  auto statement =
      write.database.query("SELECT id FROM tasks WHERE queue = 1 ORDER BY priority DESC, sequence LIMIT ?1",
                           {static_cast<std::int64_t>(arrived.size()) + 1});
  while (statement.step()) {
    ready.push_back(statement.text(0));
    if (std::find(arrived.begin(), arrived.end(), ready.back()) == arrived.end()) return {};
  }
  return ready;
}

}  // namespace

/// Starts what has just arrived, as far as there are free slots: once all directives are applied, as one of
/// them may cancel it or put it off.
void Ledger::Body::start_arrived(LedgerWrite& write, const std::vector<std::string>& arrived) {
  constexpr std::size_t kMost = 16;  // more of them wait for slots anyway
  if (!ready_ || arrived.empty() || arrived.size() > kMost || !write.why_nothing_starts().empty()) return;
  for (const std::string& id : ready_alone(write, arrived)) {
    auto row = load_task(write.database, id);
    if (!row || row->task.spec.options.outlives_agent || !write.is_startable(*row)) continue;
    auto task = row->task;
    task.spec.data = load_data(write.database, row->sequence);
    auto admitted = ready_(task);
    if (!admitted) continue;
    if (const auto* outcome = std::get_if<RunOutcome>(&*admitted)) {
      pass_run(write, *row, *outcome);
      continue;
    }
    write.database.commits(commit_point::kRunStarted);
    write.change.begun.emplace_back(write.begin_run(*row, options_.boot_id, incarnation_, false),
                                    std::get<Readiness>(*std::move(admitted)));
    save_task(write.database, *row);
  }
}

namespace {

/// Adopts a newer epoch; an answer of an older one came late.
Received resync(LedgerWrite& write, std::int64_t epoch) {
  Received received;
  if (epoch <= write.stream.epoch) {
    received.ignored = "the answer asks for an epoch that is past";
    return received;
  }
  write.database.commits(commit_point::kEpochAdopted);
  write.resync(epoch);
  received.resynced = true;
  return received;
}

}  // namespace

std::string load_quarantine(storage::Database& database) {
  auto statement = database.query("SELECT reason FROM quarantine");
  return statement.step() ? statement.text(0) : std::string();
}

Result<Received> Ledger::receive(const PollAnswer& answer) {
  // Most answers say nothing, and cost no write.
  if (!answer.resync && answer.lines.empty()) {
    const auto quarantine = body_->read(
        [](storage::Database& database) -> Result<std::string> { return load_quarantine(database); });
    if (!quarantine) return quarantine.error();
    if (*quarantine == answer.quarantined) return Received{};
  }
  return body_->write(commit_point::kDirectivesReceived, [&](LedgerWrite& write) -> Result<Received> {
    take_quarantine(write, answer.quarantined);
    if (!answer.resync && answer.lines.empty()) return Received{};
    if (answer.resync) return resync(write, answer.epoch);
    if (answer.epoch != write.stream.epoch) {
      Received received;
      received.ignored = "the answer is of another epoch";
      return received;
    }
    Receiver receiver(write);
    auto received = receiver.receive(answer);
    body_->start_arrived(write, receiver.arrived());
    return received;
  });
}

Result<PollCursors> Ledger::poll_cursors() {
  return body_->read([&](storage::Database& database) -> Result<PollCursors> {
    const StreamRow stream = load_stream(database);
    PollCursors cursors{stream.epoch,
                        stream.directives,
                        stream.acknowledged,
                        body_->incarnation(),
                        {},
                        stream.hold(),
                        !load_quarantine(database).empty(),
                        stream.incomplete};
    // The newest, and the oldest: the one that a server acknowledged last.
    auto statement = database.query(
        "SELECT id FROM incarnations WHERE id <> ?1 AND (number > (SELECT max(number) - ?2 FROM incarnations)"
        " OR number = (SELECT min(number) FROM incarnations)) ORDER BY number DESC",
        {body_->incarnation(), kMostPredecessors});
    while (statement.step()) cursors.predecessors.push_back(statement.text(0));
    return cursors;
  });
}

Result<ReportBatch> Ledger::pending_reports(std::size_t most_reports, std::size_t most_bytes) {
  return body_->read([&](storage::Database& database) -> Result<ReportBatch> {
    const StreamRow stream = load_stream(database);
    ReportBatch batch{protocol_version(), stream.epoch, body_->incarnation(), stream.acknowledged, {}};
    auto statement = database.query("SELECT line FROM outbox ORDER BY sequence LIMIT ?1", {most_reports});
    std::size_t bytes = 0;
    while (statement.step()) {
      std::string line = statement.text(0);
      bytes += line.size() + 1;
      if (bytes > most_bytes && !batch.lines.empty()) break;
      batch.lines.push_back(std::move(line));
    }
    return batch;
  });
}

Result<Received> Ledger::acknowledge(const ReportAnswer& answer) {
  return body_->write(commit_point::kReportsAcknowledged, [&](LedgerWrite& write) -> Result<Received> {
    if (answer.resync) return resync(write, answer.epoch);
    Received received;
    StreamRow& stream = write.stream;
    if (answer.epoch != stream.epoch) {
      received.ignored = "the answer is of another epoch";
      return received;
    }
    const Cursor& cursor = answer.reports;
    if (cursor.sequence <= stream.acknowledged.sequence) return received;
    std::string chain;
    {
      auto statement =
          write.database.query("SELECT chain FROM outbox WHERE sequence = ?1", {cursor.sequence});
      if (statement.step()) chain = statement.text(0);
    }
    if (chain.empty() || chain != cursor.chain) {
      received.ignored = "the answer acknowledges reports that this device did not write";
      return received;
    }
    std::int64_t bytes = 0;
    {
      auto statement = write.database.query(
          "SELECT sum(length(CAST(line AS BLOB))) FROM outbox WHERE sequence <= ?1", {cursor.sequence});
      if (statement.step()) bytes = statement.integer(0);
    }
    const bool was_full = write.outbox_is_full();
    received.applied = write.database.execute("DELETE FROM outbox WHERE sequence <= ?1", {cursor.sequence});
    stream.outbox_reports -= received.applied;
    stream.outbox_bytes -= bytes;
    stream.acknowledged = cursor;
    write.tell_untold();
    if (was_full && !write.outbox_is_full()) write.change.work = true;
    return received;
  });
}

Result<void> Ledger::incarnation_acknowledged() {
  if (body_->incarnation_known()) return {};
  auto forgotten =
      body_->write(commit_point::kIncarnationAcknowledged, [&](LedgerWrite& write) -> Result<void> {
        write.database.execute("DELETE FROM incarnations WHERE id <> ?1", {body_->incarnation()});
        return {};
      });
  if (forgotten) body_->incarnation_known() = true;
  return forgotten;
}

}  // namespace agenttask::agent
