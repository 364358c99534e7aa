#include "server/store/sqlite/rows.hpp"
#include "server/store/sqlite/writes.hpp"

namespace agenttask::server::sqlite {

std::int64_t SqliteWrites::insert_task(const TaskRecord& record) {
  const TaskSpec& spec = record.task.spec;
  const TaskState& state = record.task.state;
  database_.execute(
      "INSERT INTO tasks(id, node_id, type, room_id, world_id, spec, expires_at, status, reason, detail, "
      "paused, add_time, "
      "sent_time, start_time, end_time, updated_at, next_run_at, run_count, missed_count, "
      "cancel_requested_at, deleted_at, "
      "digest, created_by, offered, decided_alone, directive, occurrence, chosen, choice_requested, "
      "choice_occurrence) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
      "?10, ?11, ?12, ?13, ?14, ?15, "
      "?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)",
      {spec.id,
       spec.node_id,
       spec.type,
       spec.room_id,
       spec.world_id,
       spec_text(spec),
       spec.options.expires_at,
       to_string(state.status),
       state.reason,
       state.detail,
       state.paused,
       state.add_time,
       state.sent_time,
       state.start_time,
       state.end_time,
       state.updated_at,
       state.next_run_at,
       state.run_count,
       state.missed_count,
       state.cancel_requested_at,
       state.deleted_at,
       record.digest,
       record.created_by,
       record.offered,
       record.decided_alone,
       record.directive,
       state.occurrence,
       choice_text(state.chosen),
       choice_text(state.choice_requested),
       record.choice_occurrence.value_or(-1)});
  const std::int64_t sequence = database_.last_insert_id();
  database_.execute("INSERT INTO task_payloads(sequence, data, result) VALUES(?1, ?2, ?3)",
                    {sequence, spec.data, state.result});
  put_tags(sequence, spec.tags);
  return sequence;
}

void SqliteWrites::put_tags(std::int64_t sequence, const std::vector<std::string>& tags) {
  for (const auto& tag : tags) {
    database_.execute("INSERT OR IGNORE INTO task_tags(tag, sequence) VALUES(?1, ?2)", {tag, sequence});
  }
}

void SqliteWrites::update_task_state(const TaskRecord& record) {
  const TaskState& state = record.task.state;
  database_.execute(
      "UPDATE tasks SET status = ?2, reason = ?3, detail = ?4, paused = ?5, sent_time = ?6, start_time = ?7, "
      "end_time = ?8, updated_at = ?9, next_run_at = ?10, run_count = ?11, missed_count = ?12, "
      "cancel_requested_at = ?13, "
      "deleted_at = ?14, offered = ?15, decided_alone = ?16, in_doubt = ?17, occurrence = ?18, chosen = ?19, "
      "choice_requested = ?20, choice_occurrence = ?21, choice_directive = ?22, choice_runs = ?23 WHERE "
      "sequence = ?1",
      {record.sequence,
       to_string(state.status),
       state.reason,
       state.detail,
       state.paused,
       state.sent_time,
       state.start_time,
       state.end_time,
       state.updated_at,
       state.next_run_at,
       state.run_count,
       state.missed_count,
       state.cancel_requested_at,
       state.deleted_at,
       record.offered,
       record.decided_alone,
       record.in_doubt,
       state.occurrence,
       choice_text(state.chosen),
       choice_text(state.choice_requested),
       record.choice_occurrence.value_or(-1),
       record.choice_directive,
       record.choice_runs});
  if (!state.result.empty()) {
    // A task of a batch has no row of its own before this.
    database_.execute(
        "INSERT INTO task_payloads(sequence, data, result) VALUES(?1, '', ?2) ON CONFLICT(sequence) DO "
        "UPDATE SET "
        "result = ?2",
        {record.sequence, state.result});
  }
}

void SqliteWrites::clear_result(std::string_view task_id) {
  database_.execute(
      "UPDATE task_payloads SET result = '' WHERE sequence = (SELECT sequence FROM tasks WHERE id = ?1)",
      {task_id});
}

void SqliteWrites::update_task_spec(const TaskSpec& spec) {
  auto row = database_.query("SELECT sequence FROM tasks WHERE id = ?1", {spec.id});
  if (!row.step()) return;
  const std::int64_t sequence = row.integer(0);
  database_.execute(
      "UPDATE tasks SET spec = ?2, expires_at = ?3, room_id = ?4, world_id = ?5 WHERE sequence = ?1",
      {sequence, spec_text(spec), spec.options.expires_at, spec.room_id, spec.world_id});
  database_.execute("DELETE FROM task_tags WHERE sequence = ?1", {sequence});
  put_tags(sequence, spec.tags);
}

void SqliteWrites::mark_offered(std::string_view task_id, std::int64_t directive) {
  database_.execute("UPDATE tasks SET offered = 1, directive = ?2 WHERE id = ?1", {task_id, directive});
}

bool SqliteWrites::mark_sent(std::string_view task_id, UnixMilliseconds now) {
  return database_.execute(
             "UPDATE tasks SET status = ?2, sent_time = ?3, updated_at = max(?3, updated_at + 1) WHERE id = "
             "?1 AND status = 'pending'",
             {task_id, to_string(TaskStatus::sent), now}) > 0;
}

void SqliteWrites::mark_choice_offered(std::string_view task_id, std::int64_t directive) {
  // A question that is over waits for no answer.
  database_.execute("UPDATE tasks SET choice_directive = ?2 WHERE id = ?1 AND choice_requested <> ''",
                    {task_id, directive});
}

void SqliteWrites::mark_all_offered(std::string_view node_id) {
  forget_choice_numbers(node_id);
  database_.execute(
      "UPDATE tasks SET offered = 1, directive = 0 WHERE node_id = ?1 AND (offered = 0 OR directive <> 0)",
      {node_id});
}

void SqliteWrites::forget_choice_numbers(std::string_view node_id) {
  database_.execute("UPDATE tasks SET choice_directive = 0 WHERE node_id = ?1 AND choice_directive <> 0",
                    {node_id});
}

void SqliteWrites::clear_directive_numbers(std::string_view node_id) {
  forget_choice_numbers(node_id);
  database_.execute("UPDATE tasks SET directive = 0 WHERE node_id = ?1 AND directive <> 0", {node_id});
}

void SqliteWrites::mark_in_doubt(std::string_view node_id, bool also_offered) {
  database_.execute(
      "UPDATE tasks SET in_doubt = 1 WHERE node_id = ?1 AND (status IN ('sent', 'running', "
      "'awaiting_choice') OR (status = 'pending' AND offered = 1 AND ?2))",
      {node_id, also_offered});
}

void SqliteWrites::remove_task(std::string_view id) {
  database_.execute("DELETE FROM tasks WHERE id = ?1", {id});  // payload, tags, runs and output go with it
}

void SqliteWrites::insert_tombstone(const TombstoneRecord& record) {
  database_.execute(
      "INSERT OR IGNORE INTO tombstones(task_id, node_id, digest, summary, purged_at) VALUES(?1, ?2, ?3, ?4, "
      "?5)",
      {record.task_id, record.node_id, record.digest, record.summary, record.purged_at});
}

void SqliteWrites::put_run(const Run& run, std::optional<std::int64_t> output_limit) {
  database_.execute(
      "INSERT INTO runs(task_id, number, status, reason, start_time, end_time, result, occurrence, "
      "option, output_limit) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) "
      "ON CONFLICT(task_id, number) DO UPDATE SET status = ?3, reason = ?4, start_time = ?5, end_time = ?6, "
      "result = ?7, occurrence = ?8, option = ?9, output_limit = coalesce(output_limit, ?10)",
      {run.task_id, run.number, to_string(run.status), run.reason, run.start_time, run.end_time, run.result,
       run.occurrence, run.option, output_limit});
}

void SqliteWrites::close_runs(std::string_view task_id, std::int64_t before, UnixMilliseconds now) {
  database_.execute(
      "UPDATE runs SET status = 'failed', reason = ?4, end_time = max(?3, start_time) WHERE task_id = ?1 AND "
      "number < ?2 AND status = 'running'",
      {task_id, before, now, reason::kInterrupted});
}

bool SqliteWrites::trim_runs(std::string_view task_id, std::int64_t keep, std::size_t limit) {
  const auto number = [&](std::string_view sql, std::int64_t first, std::int64_t second) {
    auto row = database_.query(sql, {task_id, first, second});
    return row.step() ? row.optional_integer(0) : std::nullopt;
  };
  const auto last =
      number("SELECT number FROM runs WHERE task_id = ?1 AND ?2 = ?2 ORDER BY number DESC LIMIT 1 OFFSET ?3",
             0, keep);
  std::optional<std::int64_t> part;
  if (last) {
    part = number(
        "SELECT number FROM runs WHERE task_id = ?1 AND number <= ?2 AND status <> 'running' ORDER BY number "
        "LIMIT 1 OFFSET ?3",
        *last, static_cast<std::int64_t>(limit));
    remove_runs(task_id, part ? *part - 1 : *last);
  }
  if (part) return false;
  database_.execute("UPDATE tasks SET trimmed_runs = max(run_count - ?2, 0) WHERE id = ?1", {task_id, keep});
  return true;
}

/// Those up to `last` that have ended, with their output.
void SqliteWrites::remove_runs(std::string_view task_id, std::int64_t last) {
  database_.execute(
      "DELETE FROM output WHERE task_id = ?1 AND run <= ?2 AND run NOT IN (SELECT number FROM runs WHERE "
      "task_id = ?1 AND number <= ?2 AND status = 'running')",
      {task_id, last});
  database_.execute("DELETE FROM runs WHERE task_id = ?1 AND number <= ?2 AND status <> 'running'",
                    {task_id, last});
}

void SqliteWrites::put_output(std::string_view task_id, std::int64_t run, const OutputChunk& chunk) {
  const bool is_error = chunk.stream == OutputStream::standard_error;
  const auto added = database_.execute(
      "INSERT INTO output(task_id, run, stream, offset, bytes) SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS "
      "(SELECT 1 FROM "
      "output WHERE task_id = ?1 AND run = ?2 AND stream = ?3 AND (offset = ?4 OR (offset < ?4 + length(?5) "
      "AND offset + "
      "length(bytes) > ?4)))",
      {task_id, run, is_error ? 1 : 0, chunk.offset, storage::Blob{chunk.bytes}});
  if (added == 0) return;
  database_.execute(
      "UPDATE runs SET stdout_bytes = stdout_bytes + ?3, stderr_bytes = stderr_bytes + ?4 WHERE task_id = ?1 "
      "AND number = ?2",
      {task_id, run, is_error ? std::size_t{0} : chunk.bytes.size(),
       is_error ? chunk.bytes.size() : std::size_t{0}});
}

void SqliteWrites::add_device_bytes(std::string_view task_id, std::int64_t bytes) {
  database_.execute("UPDATE tasks SET device_bytes = device_bytes + ?2 WHERE id = ?1", {task_id, bytes});
}

}  // namespace agenttask::server::sqlite
