#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/sqlite/reads.hpp"
#include "server/store/sqlite/rows.hpp"

namespace agenttask::server::sqlite {
namespace {

constexpr std::string_view kEnded = "status IN ('complete', 'failed', 'cancelled')";
constexpr std::string_view kToExpire = "offered = 0 AND status = 'pending' AND expires_at IS NOT NULL";

int stream_number(OutputStream stream) {
  return stream == OutputStream::standard_output ? 0 : 1;
}

std::vector<std::string> ids(Statement row) {
  std::vector<std::string> ids;
  while (row.step()) ids.push_back(row.text(0));
  return ids;
}

/// One statement for each set of conditions that is used. All values are always bound, by number.
std::string list_query(const TaskFilter& filter) {
  std::string sql = "SELECT " + std::string(kTaskColumns) +
                    " FROM tasks WHERE sequence < ?1 AND ?2 = ?2 AND ?3 = ?3 AND ?4 = ?4 AND "
                    "?5 = ?5 AND ?6 = ?6 AND ?7 = ?7 AND ?9 = ?9 AND ?10 = ?10 AND ?11 = ?11";
  if (filter.deleted == Deleted::hidden) sql += " AND deleted_at IS NULL";
  if (filter.deleted == Deleted::only) sql += " AND deleted_at IS NOT NULL";
  // Its tasks lie side by side, but for what others added meanwhile.
  if (filter.batch) sql += " AND sequence BETWEEN ?9 AND ?10 AND batch = ?11";
  if (!filter.node_id.empty()) sql += " AND node_id = ?2";
  if (!filter.type.empty()) sql += " AND type = ?3";
  if (filter.status) sql += " AND status = ?4";
  if (!filter.room_id.empty()) sql += " AND room_id = ?5";
  if (!filter.world_id.empty()) sql += " AND world_id = ?6";
  if (filter.tags.size() == 1) {
    sql += " AND sequence IN (SELECT sequence FROM task_tags WHERE tag = json_extract(?7, '$[0]'))";
  } else if (!filter.tags.empty()) {
    sql +=
        " AND NOT EXISTS (SELECT 1 FROM json_each(?7) wanted WHERE NOT EXISTS "
        "(SELECT 1 FROM task_tags WHERE task_tags.tag = wanted.value AND task_tags.sequence = "
        "tasks.sequence))";
  }
  return sql + " ORDER BY sequence DESC LIMIT ?8";
}

}  // namespace

void SqliteReads::add_payload(TaskRecord& record) const {
  // What the tasks of a batch were given stands once, with the batch. Rows of their own have results, and
  // data only where a device told of the task first.
  const std::string_view payload =
      record.batch == 0
          ? "SELECT data, result FROM task_payloads WHERE sequence = ?1 AND ?2 = ?2"
          : "SELECT coalesce(nullif(own.data, ''), body.data), own.result FROM batch_bodies body LEFT JOIN "
            "task_payloads own ON own.sequence = ?1 WHERE body.sequence = ?2";
  auto row = database_.query(payload, {record.sequence, record.batch});
  if (!row.step()) {
    if (!database_.failed()) {
      database_.fail(
          Error{ErrorCode::corrupt, "task " + record.task.spec.id + " has no data in the server's database"});
    }
    return;
  }
  record.task.spec.data = row.text(0);
  record.task.state.result = row.text(1);
}

std::optional<TaskRecord> SqliteReads::task(std::string_view id, WithData with_data) const {
  static const std::string sql = "SELECT " + std::string(kTaskColumns) + " FROM tasks WHERE id = ?1";
  auto row = database_.query(sql, {id});
  if (!row.step()) return std::nullopt;
  TaskRecord record = read_task(database_, row);
  if (with_data == WithData::yes) add_payload(record);
  return record;
}

std::vector<TaskRecord> SqliteReads::tasks(const TaskFilter& filter, std::int64_t before, std::size_t limit,
                                           WithData with_data) const {
  const std::string tags = encode_json(nlohmann::json(filter.tags));
  auto row = database_.query(
      list_query(filter),
      {before > 0 ? before : INT64_MAX, filter.node_id, filter.type,
       filter.status ? to_string(*filter.status) : std::string_view(), filter.room_id, filter.world_id, tags,
       limit, filter.batch ? filter.batch->first_task : 0, filter.batch ? filter.batch->last_task : 0,
       filter.batch ? filter.batch->sequence : 0});
  std::vector<TaskRecord> records;
  while (row.step()) {
    records.push_back(read_task(database_, row));
    if (with_data == WithData::yes) add_payload(records.back());
  }
  return records;
}

std::vector<std::pair<std::string, TaskStatus>> SqliteReads::tasks_for_epoch(std::string_view node_id) const {
  std::vector<std::pair<std::string, TaskStatus>> tasks;
  auto row = database_.query(
      "SELECT id, status FROM tasks WHERE node_id = ?1 AND in_doubt = 0 AND (status NOT IN ('complete', "
      "'failed', 'cancelled') OR "
      "(status = 'cancelled' AND decided_alone = 1)) ORDER BY sequence",
      {node_id});
  while (row.step()) {
    const auto status = parse_task_status(row.text(1));
    tasks.emplace_back(row.text(0), status ? *status : TaskStatus::pending);
  }
  return tasks;
}

std::vector<std::string> SqliteReads::deleted_tasks_going_on(std::string_view node_id) const {
  return ids(
      database_.query("SELECT id FROM tasks WHERE node_id = ?1 AND deleted_at IS NOT NULL AND status NOT IN "
                      "('complete', 'failed', 'cancelled') ORDER BY sequence",
                      {node_id}));
}

std::vector<std::string> SqliteReads::tasks_in_doubt(std::string_view node_id) const {
  return ids(database_.query("SELECT id FROM tasks WHERE node_id = ?1 AND in_doubt = 1 ORDER BY sequence",
                             {node_id}));
}

std::vector<std::string> SqliteReads::open_tasks(std::string_view node_id) const {
  return ids(database_.query(
      "SELECT id FROM tasks WHERE node_id = ?1 AND NOT (" + std::string(kEnded) + ") ORDER BY sequence",
      {node_id}));
}

std::vector<std::string> SqliteReads::expired_tasks(UnixMilliseconds now, std::size_t limit) const {
  return ids(database_.query("SELECT id FROM tasks WHERE " + std::string(kToExpire) +
                                 " AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
                             {now, limit}));
}

std::optional<UnixMilliseconds> SqliteReads::next_expiry() const {
  auto row = database_.query("SELECT min(expires_at) FROM tasks WHERE " + std::string(kToExpire));
  if (!row.step()) return std::nullopt;
  return row.optional_integer(0);
}

std::vector<std::string> SqliteReads::purgeable_tasks(DurationMilliseconds before, std::size_t limit) const {
  return ids(database_.query("SELECT id FROM tasks WHERE kept_since < ?1 AND " + std::string(kEnded) +
                                 " AND NOT EXISTS (SELECT 1 FROM directives WHERE directives.task_id = "
                                 "tasks.id) ORDER BY kept_since LIMIT ?2",
                             {before, limit}));
}

std::optional<TombstoneRecord> SqliteReads::tombstone(std::string_view task_id) const {
  auto row = database_.query(
      "SELECT task_id, node_id, digest, summary, purged_at FROM tombstones WHERE task_id = ?1", {task_id});
  if (!row.step()) return std::nullopt;
  return TombstoneRecord{row.text(0), row.text(1), row.text(2), row.text(3), row.integer(4)};
}

std::optional<Run> SqliteReads::run(std::string_view task_id, std::int64_t number) const {
  auto row =
      database_.query("SELECT " + std::string(kRunColumns) + " FROM runs WHERE task_id = ?1 AND number = ?2",
                      {task_id, number});
  if (!row.step()) return std::nullopt;
  return read_run(database_, row);
}

std::vector<Run> SqliteReads::runs(std::string_view task_id) const {
  auto row = database_.query(
      "SELECT " + std::string(kRunColumns) + " FROM runs WHERE task_id = ?1 ORDER BY number", {task_id});
  std::vector<Run> runs;
  while (row.step()) runs.push_back(read_run(database_, row));
  return runs;
}

std::vector<Run> SqliteReads::runs_before(std::string_view task_id, std::int64_t before,
                                          std::size_t limit) const {
  auto row =
      database_.query("SELECT " + std::string(kRunColumns) +
                          " FROM runs WHERE task_id = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3",
                      {task_id, before > 0 ? before : INT64_MAX, limit});
  std::vector<Run> runs;
  std::size_t bytes = 0;
  while (!(bytes > kPageBytes && runs.size() > 1) && row.step()) {
    runs.push_back(read_run(database_, row));
    bytes += runs.back().result.size();
  }
  return runs;
}

std::vector<std::string> SqliteReads::tasks_with_many_runs(std::int64_t keep, std::size_t limit) const {
  return ids(
      database_.query("SELECT id FROM tasks WHERE run_count - trimmed_runs > 1 AND run_count - "
                      "trimmed_runs > ?1 ORDER BY run_count - trimmed_runs DESC LIMIT ?2",
                      {keep, limit}));
}

std::vector<std::string> SqliteReads::tasks_with_choice_requested(std::string_view node_id) const {
  return ids(
      database_.query("SELECT id FROM tasks WHERE node_id = ?1 AND choice_requested <> ''", {node_id}));
}

std::optional<MessageRecord> SqliteReads::message(std::string_view poster, std::string_view id) const {
  auto row = database_.query(
      "SELECT " + std::string(kMessageColumns) + " FROM messages WHERE poster = ?1 AND id = ?2",
      {poster, id});
  if (!row.step()) return std::nullopt;
  return read_message(row);
}

std::vector<MessageRecord> SqliteReads::messages(const MessageFilter& filter, std::int64_t before,
                                                 std::size_t limit) const {
  std::string sql = "SELECT " + std::string(kMessageColumns) +
                    " FROM messages WHERE sequence < ?1 AND ?2 = ?2 AND ?3 = ?3 AND ?4 = ?4 AND ?5 = ?5";
  if (!filter.room_id.empty()) sql += " AND room_id = ?2";
  if (!filter.node_id.empty()) sql += " AND poster = ?3";
  if (!filter.task_id.empty()) sql += " AND task_id <> '' AND task_id = ?4";
  if (!filter.world_id.empty()) sql += " AND world_id <> '' AND world_id = ?5";
  auto row = database_.query(sql + " ORDER BY sequence DESC LIMIT ?6",
                             {before > 0 ? before : INT64_MAX, filter.room_id, filter.node_id, filter.task_id,
                              filter.world_id, limit});
  std::vector<MessageRecord> records;
  std::size_t bytes = 0;
  while (!(bytes > kPageBytes && records.size() > 1) && row.step()) {
    records.push_back(read_message(row));
    bytes += records.back().message.content.size();
  }
  return records;
}

std::vector<OutputChunk> SqliteReads::output(std::string_view task_id, std::int64_t run) const {
  auto row = database_.query(
      "SELECT stream, offset, bytes FROM output WHERE task_id = ?1 AND run = ?2 ORDER BY stream, offset",
      {task_id, run});
  std::vector<OutputChunk> chunks;
  while (row.step()) {
    chunks.push_back({row.integer(0) == 0 ? OutputStream::standard_output : OutputStream::standard_error,
                      row.integer(1), row.text(2)});
  }
  return chunks;
}

std::vector<OutputChunk> SqliteReads::output_after(std::string_view task_id, std::int64_t run,
                                                   OutputStream stream, std::int64_t offset,
                                                   std::size_t most) const {
  constexpr std::int64_t kMostChunks = 1000;  // they may be tiny
  auto row = database_.query(
      "SELECT stream, offset, bytes FROM output WHERE task_id = ?1 AND run = ?2"
      " AND (stream, offset) > (?3, ?4) ORDER BY stream, offset LIMIT ?5",
      {task_id, run, stream_number(stream), offset, kMostChunks});
  std::vector<OutputChunk> chunks;
  for (std::size_t bytes = 0; bytes < most && row.step(); bytes += chunks.back().bytes.size()) {
    chunks.push_back({row.integer(0) == 0 ? OutputStream::standard_output : OutputStream::standard_error,
                      row.integer(1), row.text(2)});
  }
  return chunks;
}

std::int64_t SqliteReads::output_bytes(std::string_view task_id, std::int64_t run,
                                       OutputStream stream) const {
  auto row = database_.query("SELECT stdout_bytes, stderr_bytes FROM runs WHERE task_id = ?1 AND number = ?2",
                             {task_id, run});
  return row.step() ? row.integer(stream_number(stream)) : 0;
}

std::optional<std::int64_t> SqliteReads::output_limit(std::string_view task_id, std::int64_t run) const {
  auto row =
      database_.query("SELECT output_limit FROM runs WHERE task_id = ?1 AND number = ?2", {task_id, run});
  if (!row.step()) return std::nullopt;
  return row.optional_integer(0);
}

std::optional<std::string> SqliteReads::task_of_directive(std::string_view node_id,
                                                          std::int64_t directive) const {
  auto row = database_.query("SELECT id FROM tasks WHERE node_id = ?1 AND directive = ?2 AND directive <> 0",
                             {node_id, directive});
  if (!row.step()) return std::nullopt;
  return row.text(0);
}

std::optional<std::string> SqliteReads::task_of_choice(std::string_view node_id,
                                                       std::int64_t directive) const {
  auto row = database_.query(
      "SELECT id FROM tasks WHERE node_id = ?1 AND choice_directive = ?2 AND choice_directive <> 0",
      {node_id, directive});
  if (!row.step()) return std::nullopt;
  return row.text(0);
}

}  // namespace agenttask::server::sqlite
