#include "agent/ledger/task_rows.hpp"

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

constexpr std::string_view kColumns =
    "SELECT sequence, id, node_id, type, description, tags, room_id, world_id, metadata, timeout, expires_at,"
    " retry_attempts, retry_backoff, retry_most, rerun, max_output_bytes, priority, concurrency_key, "
    "scheduled_for,"
    " status, reason, detail, add_time, sent_time, start_time, end_time, updated_at, next_run_at, run_count,"
    " cancel_requested_at, deleted_at, result, queue, ready_at, reruns, reported, "
    "delay_until FROM tasks ";

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
  return row;
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
  database.execute(
      "UPDATE tasks SET description = ?2, tags = ?3, metadata = ?4, timeout = ?5, expires_at = ?6,"
      " retry_attempts = ?7, retry_backoff = ?8, retry_most = ?9, rerun = ?10, max_output_bytes = ?11,"
      " priority = ?12, concurrency_key = ?13, scheduled_for = ?14, status = ?15, reason = ?16, detail = ?17,"
      " start_time = ?18, end_time = ?19, updated_at = ?20, next_run_at = ?21, run_count = ?22,"
      " cancel_requested_at = ?23, deleted_at = ?24, result = ?25, queue = ?26, ready_at = ?27, reruns = ?28,"
      " reported = ?29, delay_until = ?30 WHERE sequence = ?1",
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
       row.queue == Queue::delayed ? Optional(row.delay_until) : Optional()});
}

std::vector<Run> load_runs(storage::Database& database, const TaskRow& row) {
  std::vector<Run> runs;
  auto statement = database.query(
      "SELECT number, status, reason, start_time, end_time, result FROM runs WHERE task = ?1 ORDER BY number",
      {row.sequence});
  while (statement.step()) {
    Run run;
    run.task_id = row.task.spec.id;
    run.number = statement.integer(0);
    const auto status = parse_run_status(statement.text(1));
    run.status = status ? *status : RunStatus::failed;
    run.reason = statement.text(2);
    run.start_time = statement.integer(3);
    run.end_time = statement.optional_integer(4);
    run.result = statement.text(5);
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace agenttask::agent
