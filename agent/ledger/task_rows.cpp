#include "agent/ledger/task_rows.hpp"

#include <array>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::agent {
namespace {

constexpr std::string_view kColumns =
    "SELECT sequence, id, node_id, type, description, tags, room_id, world_id, metadata, timeout, expires_at,"
    " retry_attempts, retry_backoff, retry_most, rerun, max_output_bytes, priority, concurrency_key, "
    "scheduled_for,"
    " status, reason, detail, add_time, sent_time, start_time, end_time, updated_at, next_run_at, run_count,"
    " cancel_requested_at, deleted_at, result, queue, ready_at, reruns, reported, "
    "delay_until, update_interval, jitter, overlap, catch_up, question, chosen, choice_due, paused, "
    "missed_count,"
    " occurrence, last_occurrence, waiting, base_runs, first_due, grid_due, grid_at,"
    " outlives_agent FROM tasks ";

std::string encode_tags(const std::vector<std::string>& tags) {
  return encode_json(nlohmann::json(tags));
}

std::vector<std::string> decode_tags(const std::string& text) {
  std::vector<std::string> tags;
  const auto value = parse_json(text);
  if (!value || !value->is_array()) return tags;
  for (const auto& tag : *value) {
    if (tag.is_string()) tags.push_back(tag.get<std::string>());
  }
  return tags;
}

/// The members of a spec that make its question.
constexpr std::array<const char*, 4> kQuestion{"choices", "defaultChoice", "choiceExpiresAt", "chooser"};

std::string encode_question(const TaskSpec& spec) {
  if (spec.choices.empty()) return {};
  TaskSpec bare;
  bare.choices = spec.choices;
  bare.default_choice = spec.default_choice;
  bare.choice_expires_at = spec.choice_expires_at;
  bare.chooser = spec.chooser;
  const auto all = spec_to_json(bare);
  nlohmann::json question = nlohmann::json::object();
  for (const char* name : kQuestion) {
    if (all.contains(name)) question[name] = all[name];
  }
  return encode_json(question);
}

void decode_question(const std::string& text, TaskSpec& spec) {
  if (text.empty()) return;
  auto value = parse_json(text);
  if (!value || !value->is_object()) return;
  (*value)["id"] = spec.id;
  (*value)["type"] = spec.type;
  auto question = spec_from_json(*value);
  if (!question) return;
  spec.choices = std::move(question->choices);
  spec.default_choice = std::move(question->default_choice);
  spec.choice_expires_at = question->choice_expires_at;
  spec.chooser = question->chooser;
}

std::string encode_chosen(const TaskState& state) {
  return state.chosen ? encode_json(choice_made_to_json(*state.chosen)) : std::string();
}

std::optional<ChoiceMade> decode_chosen(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto value = parse_json(text);
  if (!value) return std::nullopt;
  auto made = choice_made_from_json(*value);
  return made ? std::optional(std::move(*made)) : std::nullopt;
}

/// Reads columns one after another, so that none is counted by hand.
class Columns {
 public:
  explicit Columns(const storage::Statement& statement) : statement_(statement) {}
  std::int64_t integer() { return statement_.integer(next_++); }
  std::string text() { return statement_.text(next_++); }
  std::optional<std::int64_t> optional_integer() { return statement_.optional_integer(next_++); }

 private:
  const storage::Statement& statement_;
  int next_ = 0;
};

void read_options(Columns& columns, TaskSpec& spec) {
  spec.options.timeout = columns.integer();
  spec.options.expires_at = columns.optional_integer();
  const auto attempts = columns.optional_integer();
  const auto backoff = columns.optional_integer();
  const auto most = columns.optional_integer();
  if (attempts) spec.options.retry = RetryPolicy{*attempts, backoff.value_or(0), most.value_or(0)};
  spec.options.on_interrupt = columns.integer() != 0 ? OnInterrupt::rerun : OnInterrupt::fail;
  spec.options.max_output_bytes = columns.integer();
  spec.options.priority = columns.integer();
  spec.options.concurrency_key = columns.text();
  spec.schedule.scheduled_for = columns.optional_integer();
}

void read_schedule(Columns& columns, TaskRow& row) {
  TaskSpec& spec = row.task.spec;
  TaskState& state = row.task.state;
  spec.schedule.update_interval = columns.optional_integer();
  spec.schedule.jitter = columns.integer();
  if (const auto overlap = parse_overlap(columns.text())) spec.schedule.overlap = *overlap;
  if (const auto catch_up = parse_catch_up(columns.text())) spec.schedule.catch_up = *catch_up;
  decode_question(columns.text(), spec);
  state.chosen = decode_chosen(columns.text());
  row.choice_due = columns.optional_integer();
  state.paused = columns.integer() != 0;
  state.missed_count = columns.integer();
  state.occurrence = columns.integer();
  row.last_occurrence = columns.integer();
  row.waiting = columns.integer();
  row.base_runs = columns.integer();
  row.first_due = columns.optional_integer();
  row.grid_due = columns.optional_integer();
  row.grid_at = columns.optional_integer().value_or(0);
}

TaskRow read_row(const storage::Statement& statement) {
  Columns columns(statement);
  TaskRow row;
  row.sequence = columns.integer();
  TaskSpec& spec = row.task.spec;
  spec.id = columns.text();
  spec.node_id = columns.text();
  spec.type = columns.text();
  spec.description = columns.text();
  spec.tags = decode_tags(columns.text());
  spec.room_id = columns.text();
  spec.world_id = columns.text();
  spec.metadata = columns.text();
  read_options(columns, spec);
  TaskState& state = row.task.state;
  // What this program wrote can be read again; anything else is damage, shown as failed rather than run.
  const auto status = parse_task_status(columns.text());
  state.status = status ? *status : TaskStatus::failed;
  state.reason = columns.text();
  state.detail = columns.text();
  state.add_time = columns.integer();
  state.sent_time = columns.optional_integer();
  state.start_time = columns.optional_integer();
  state.end_time = columns.optional_integer();
  state.updated_at = columns.integer();
  state.next_run_at = columns.optional_integer();
  state.run_count = columns.integer();
  state.cancel_requested_at = columns.optional_integer();
  state.deleted_at = columns.optional_integer();
  state.result = columns.text();
  row.queue = static_cast<Queue>(columns.optional_integer().value_or(-1));
  row.ready_at = columns.integer();
  row.reruns = columns.integer();
  row.reported = columns.integer();
  row.delay_until = columns.optional_integer().value_or(0);
  read_schedule(columns, row);
  spec.options.outlives_agent = columns.integer() != 0;
  return row;
}

/// When the grid's next point has to be looked at: not while an occurrence is active, as its end does that,
/// unless the next one replaces it.
std::optional<std::int64_t> tick_of(const TaskRow& row) {
  if (!row.recurs() || row.task.state.paused || has_ended(row.task.state.status)) return std::nullopt;
  const bool looked_at =
      row.queue == Queue::resting || row.task.spec.schedule.overlap == Overlap::cancel_previous;
  return looked_at ? row.grid_due : std::nullopt;
}

constexpr const char* kRunsOfTask =
    "SELECT number, status, reason, start_time, end_time, result, occurrence, option FROM runs WHERE task = "
    "?1 "
    "ORDER BY number";
constexpr const char* kRunOfTask =
    "SELECT number, status, reason, start_time, end_time, result, occurrence, option FROM runs WHERE task = "
    "?1 "
    "AND number = ?2";

Run read_run(const storage::Statement& statement, const TaskRow& row) {
  Run run;
  run.task_id = row.task.spec.id;
  run.number = statement.integer(0);
  const auto status = parse_run_status(statement.text(1));
  run.status = status ? *status : RunStatus::failed;
  run.reason = statement.text(2);
  run.start_time = statement.integer(3);
  run.end_time = statement.optional_integer(4);
  run.result = statement.text(5);
  run.occurrence = statement.integer(6);
  run.option = statement.text(7);
  return run;
}

std::optional<std::int64_t> queue_value(Queue queue) {
  return queue == Queue::none ? std::nullopt : std::optional<std::int64_t>(static_cast<std::int64_t>(queue));
}

}  // namespace

std::vector<TaskRow> load_tasks(storage::Database& database, std::string_view condition,
                                std::initializer_list<storage::Value> values) {
  std::vector<TaskRow> rows;
  auto statement = database.query(std::string(kColumns).append(condition), values);
  while (statement.step()) rows.push_back(read_row(statement));
  return rows;
}

std::optional<TaskRow> load_task(storage::Database& database, std::string_view id) {
  auto rows = load_tasks(database, "WHERE id = ?1", {id});
  return rows.empty() ? std::nullopt : std::optional(std::move(rows.front()));
}

std::string load_data(storage::Database& database, std::int64_t sequence) {
  auto statement = database.query("SELECT data FROM inputs WHERE task = ?1", {sequence});
  return statement.step() ? statement.text(0) : "{}";
}

std::string load_digest(storage::Database& database, std::int64_t sequence) {
  auto statement = database.query("SELECT digest FROM inputs WHERE task = ?1", {sequence});
  return statement.step() ? statement.text(0) : std::string();
}

std::optional<RememberedTask> load_remembered(storage::Database& database, std::string_view id) {
  auto statement =
      database.query("SELECT digest, status, reason, end_time FROM remembered WHERE id = ?1", {id});
  if (!statement.step()) return std::nullopt;
  RememberedTask remembered;
  remembered.digest = statement.text(0);
  TaskState& state = remembered.state;
  const auto status = parse_task_status(statement.text(1));
  state.status = status ? *status : TaskStatus::cancelled;
  state.reason = statement.text(2);
  state.end_time = state.add_time = state.updated_at = statement.integer(3);
  return remembered;
}

void insert_task(storage::Database& database, TaskRow& row, std::string_view digest) {
  const TaskSpec& spec = row.task.spec;
  // The columns that never change go in here, all others with save_task().
  database.execute(
      "INSERT INTO tasks (id, node_id, type, description, tags, room_id, world_id, metadata, timeout, rerun,"
      " max_output_bytes, priority, concurrency_key, status, reason, detail, add_time, sent_time, updated_at,"
      " run_count, result, ready_at, reruns, reported)"
      " VALUES (?1, ?2, ?3, '', '[]', ?4, ?5, '{}', 0, 0, 0, 0, '', 'sent', '', '', ?6, ?7, 0, 0, '', 0, 0, "
      "0)",
      {spec.id, spec.node_id, spec.type, spec.room_id, spec.world_id, row.task.state.add_time,
       row.task.state.sent_time});
  row.sequence = database.last_insert_id();
  database.execute("INSERT INTO inputs (task, digest, data) VALUES (?1, ?2, ?3)",
                   {row.sequence, storage::Blob{digest}, spec.data});
  save_task(database, row);
}

void save_task(storage::Database& database, const TaskRow& row) {
  const TaskSpec& spec = row.task.spec;
  const TaskOptions& options = spec.options;
  const TaskState& state = row.task.state;
  const auto& retry = options.retry;
  using Optional = std::optional<std::int64_t>;
  const std::string tags = encode_tags(spec.tags);
  const std::string question = encode_question(spec);
  const std::string chosen = encode_chosen(state);
  database.execute(
      "UPDATE tasks SET description = ?2, tags = ?3, metadata = ?4, timeout = ?5, expires_at = ?6,"
      " retry_attempts = ?7, retry_backoff = ?8, retry_most = ?9, rerun = ?10, max_output_bytes = ?11,"
      " priority = ?12, concurrency_key = ?13, scheduled_for = ?14, status = ?15, reason = ?16, detail = ?17,"
      " start_time = ?18, end_time = ?19, updated_at = ?20, next_run_at = ?21, run_count = ?22,"
      " cancel_requested_at = ?23, deleted_at = ?24, result = ?25, queue = ?26, ready_at = ?27, reruns = ?28,"
      " reported = ?29, delay_until = ?30, update_interval = ?31, jitter = ?32, overlap = ?33, catch_up = "
      "?34,"
      " question = ?35, chosen = ?36, choice_due = ?37, paused = ?38, missed_count = ?39, occurrence = ?40,"
      " last_occurrence = ?41, waiting = ?42, base_runs = ?43, first_due = ?44, grid_due = ?45, grid_at = "
      "?46,"
      " tick = ?47, outlives_agent = ?48 WHERE sequence = ?1",
      {row.sequence,
       spec.description,
       tags,
       spec.metadata,
       options.timeout,
       options.expires_at,
       retry ? Optional(retry->max_attempts) : Optional(),
       retry ? Optional(retry->backoff) : Optional(),
       retry ? Optional(retry->max_backoff) : Optional(),
       options.on_interrupt == OnInterrupt::rerun ? 1 : 0,
       options.max_output_bytes,
       options.priority,
       options.concurrency_key,
       spec.schedule.scheduled_for,
       to_string(state.status),
       state.reason,
       state.detail,
       state.start_time,
       state.end_time,
       state.updated_at,
       state.next_run_at,
       state.run_count,
       state.cancel_requested_at,
       state.deleted_at,
       state.result,
       queue_value(row.queue),
       row.ready_at,
       row.reruns,
       row.reported,
       row.queue == Queue::delayed ? Optional(row.delay_until) : Optional(),
       spec.schedule.update_interval,
       spec.schedule.jitter,
       row.recurs() ? to_string(spec.schedule.overlap) : std::string_view(),
       row.recurs() ? to_string(spec.schedule.catch_up) : std::string_view(),
       question,
       chosen,
       row.choice_due,
       state.paused ? 1 : 0,
       state.missed_count,
       state.occurrence,
       row.last_occurrence,
       row.waiting,
       row.base_runs,
       row.first_due,
       row.grid_due,
       row.grid_due ? Optional(row.grid_at) : Optional(),
       tick_of(row),
       options.outlives_agent ? 1 : 0});
}

std::vector<std::pair<std::int64_t, RoomMessage>> load_messages(
    storage::Database& database, std::string_view condition, std::initializer_list<storage::Value> values) {
  std::vector<std::pair<std::int64_t, RoomMessage>> messages;
  auto statement =
      database.query(std::string("SELECT sequence, id, room_id, world_id, task_id, run, content, time,"
                                 " node_id FROM messages ")
                         .append(condition),
                     values);
  while (statement.step()) {
    RoomMessage message;
    message.id = statement.text(1);
    message.room_id = statement.text(2);
    message.world_id = statement.text(3);
    message.task_id = statement.text(4);
    message.run = statement.integer(5);
    message.content = statement.text(6);
    message.time = statement.integer(7);
    message.node_id = statement.text(8);
    messages.emplace_back(statement.integer(0), std::move(message));
  }
  return messages;
}

std::vector<Run> load_runs(storage::Database& database, const TaskRow& row) {
  std::vector<Run> runs;
  auto statement = database.query(kRunsOfTask, {row.sequence});
  while (statement.step()) runs.push_back(read_run(statement, row));
  return runs;
}

std::optional<Run> load_run(storage::Database& database, const TaskRow& row, std::int64_t number) {
  auto statement = database.query(kRunOfTask, {row.sequence, number});
  return statement.step() ? std::optional(read_run(statement, row)) : std::nullopt;
}

}  // namespace agenttask::agent
