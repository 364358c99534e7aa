#include <algorithm>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/sqlite/rows.hpp"
#include "server/store/sqlite/writes.hpp"

// One task for many devices.
namespace agenttask::server::sqlite {
namespace {

constexpr std::string_view kBatchColumns =
    "batches.sequence, id, spec, target, digest, created_by, add_time, targets, made, first_task, "
    "last_task, cancel_requested_at, cancelled_up_to, CASE WHEN ?1 THEN data ELSE '{}' END";
constexpr std::string_view kFromBatches = " FROM batches JOIN batch_bodies USING(sequence) ";

std::string select_batches(std::string_view rest) {
  return "SELECT " + std::string(kBatchColumns) + std::string(kFromBatches) + std::string(rest);
}

}  // namespace

BatchRecord SqliteReads::read_batch(const Statement& row) const {
  BatchRecord record;
  record.sequence = row.integer(0);
  record.id = row.text(1);
  record.spec = read_spec(database_, row.text(2), record.id, "");
  record.spec.id.clear();
  record.spec.data = row.text(13);
  record.target = row.text(3);
  record.digest = row.text(4);
  record.created_by = row.text(5);
  record.add_time = row.integer(6);
  record.targets = row.integer(7);
  record.made = row.integer(8);
  record.first_task = row.integer(9);
  record.last_task = row.integer(10);
  record.cancel_requested_at = row.optional_integer(11);
  record.cancelled_up_to = row.optional_integer(12);
  auto count = database_.query("SELECT status, count FROM batch_counts WHERE batch = ?1", {record.sequence});
  while (count.step()) {
    const auto status = parse_task_status(count.text(0));
    (status ? record.counts.at(static_cast<std::size_t>(*status)) : record.purged) = count.integer(1);
  }
  return record;
}

std::optional<BatchRecord> SqliteReads::batch(std::string_view id, WithData with_data) const {
  auto row = database_.query(select_batches("WHERE id = ?2"), {with_data == WithData::yes, id});
  if (!row.step()) return std::nullopt;
  return read_batch(row);
}

std::optional<BatchRecord> SqliteReads::batch_at(std::int64_t sequence) const {
  auto row = database_.query(select_batches("WHERE batches.sequence = ?2"), {false, sequence});
  if (!row.step()) return std::nullopt;
  return read_batch(row);
}

std::vector<BatchRecord> SqliteReads::batches(std::int64_t before, std::size_t limit) const {
  auto row =
      database_.query(select_batches("WHERE batches.sequence < ?2 ORDER BY batches.sequence DESC LIMIT ?3"),
                      {false, before > 0 ? before : INT64_MAX, limit});
  std::vector<BatchRecord> records;
  while (row.step()) records.push_back(read_batch(row));
  return records;
}

std::vector<std::int64_t> SqliteReads::open_batches() const {
  auto row = database_.query(
      "SELECT sequence FROM batches WHERE made < targets OR cancelled_up_to IS NOT NULL ORDER BY sequence");
  std::vector<std::int64_t> sequences;
  while (row.step()) sequences.push_back(row.integer(0));
  return sequences;
}

std::optional<BatchPart> SqliteReads::next_part(std::int64_t batch) const {
  auto row = database_.query("SELECT number, nodes FROM batch_parts WHERE batch = ?1 ORDER BY number LIMIT 1",
                             {batch});
  if (!row.step()) return std::nullopt;
  BatchPart part{row.integer(0), {}};
  const auto nodes = parse_json(row.text(1));
  if (!nodes || !nodes->is_array() || nodes->empty()) {
    database_.fail(
        Error{ErrorCode::corrupt, "the targets of a batch are not readable in the server's database"});
    return std::nullopt;
  }
  for (const auto& node : *nodes) {
    if (node.is_string()) part.nodes.push_back(node.get<std::string>());
  }
  return part;
}

std::vector<std::string> SqliteReads::open_tasks_of(const BatchRecord& batch, std::int64_t after,
                                                    std::size_t limit) const {
  auto row = database_.query(
      "SELECT id FROM tasks WHERE sequence > ?1 AND sequence BETWEEN ?2 AND ?3 AND batch = ?4 AND status NOT "
      "IN "
      "('complete', 'failed', 'cancelled') ORDER BY sequence LIMIT ?5",
      {after, batch.first_task, batch.last_task, batch.sequence, limit});
  std::vector<std::string> ids;
  while (row.step()) ids.push_back(row.text(0));
  return ids;
}

std::optional<std::string> SqliteReads::id_if_over(std::int64_t batch) const {
  auto row = database_.query(
      "SELECT id FROM batches WHERE sequence = ?1 AND made = targets AND NOT EXISTS (SELECT 1 FROM "
      "batch_counts "
      "WHERE batch = ?1 AND count > 0 AND status IN ('pending', 'sent', 'awaiting_choice', 'running'))",
      {batch});
  if (!row.step()) return std::nullopt;
  return row.text(0);
}

std::string SqliteReads::batch_seed() const {
  auto row = database_.query("SELECT seed FROM batch_seed");
  return row.step() ? row.text(0) : std::string();
}

std::int64_t SqliteWrites::insert_batch(const BatchRecord& record) {
  database_.execute(
      "INSERT INTO batches(id, digest, created_by, add_time, targets, made, first_task, last_task, "
      "cancel_requested_at, cancelled_up_to) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
      {record.id, record.digest, record.created_by, record.add_time, record.targets, record.made,
       record.first_task, record.last_task, record.cancel_requested_at, record.cancelled_up_to});
  const std::int64_t sequence = database_.last_insert_id();
  database_.execute("INSERT INTO batch_bodies(sequence, target, spec, data) VALUES(?1, ?2, ?3, ?4)",
                    {sequence, record.target, spec_text(record.spec), record.spec.data});
  return sequence;
}

void SqliteWrites::update_batch(const BatchRecord& record) {
  database_.execute(
      "UPDATE batches SET made = ?2, first_task = ?3, last_task = ?4, cancel_requested_at = ?5, "
      "cancelled_up_to = ?6 WHERE sequence = ?1",
      {record.sequence, record.made, record.first_task, record.last_task, record.cancel_requested_at,
       record.cancelled_up_to});
}

void SqliteWrites::insert_part(std::int64_t batch, const BatchPart& part) {
  database_.execute("INSERT INTO batch_parts(batch, number, nodes) VALUES(?1, ?2, ?3)",
                    {batch, part.number, encode_json(nlohmann::json(part.nodes))});
}

void SqliteWrites::remove_part(std::int64_t batch, std::int64_t number) {
  database_.execute("DELETE FROM batch_parts WHERE batch = ?1 AND number = ?2", {batch, number});
}

void SqliteWrites::insert_batch_tasks(BatchRecord& batch, const std::vector<BatchTask>& tasks) {
  const TaskSpec& spec = batch.spec;
  std::size_t fresh = 0;
  for (const auto& task : tasks) {
    const auto inserted = database_.execute(
        "INSERT INTO tasks(id, node_id, batch, type, room_id, world_id, expires_at, add_time, updated_at, "
        "spec, "
        "status, reason, detail, paused, run_count, missed_count, digest, created_by, offered, "
        "decided_alone, "
        "directive, choice_occurrence) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, '', 'pending', '', '', 0, "
        "0, 0, "
        "'', '', 0, 0, 0, -1) ON CONFLICT(id) DO NOTHING",
        {task.id, task.node_id, batch.sequence, spec.type, spec.room_id, spec.world_id,
         spec.options.expires_at, batch.add_time});
    std::int64_t sequence = 0;
    if (inserted > 0) {
      sequence = database_.last_insert_id();
      put_tags(sequence, spec.tags);
      append_directive({0, task.node_id, DirectiveKind::task, task.id, {}, 0, {}});
      ++fresh;
    } else {
      sequence = adopt_batch_task(batch, task);
    }
    if (sequence == 0) continue;
    batch.first_task = batch.first_task == 0 ? sequence : std::min(batch.first_task, sequence);
    batch.last_task = std::max(batch.last_task, sequence);
  }
  count_batch_tasks(batch, "pending", fresh);
}

std::int64_t SqliteWrites::adopt_batch_task(const BatchRecord& batch, const BatchTask& task) {
  std::int64_t sequence = 0;
  std::string status;
  {
    auto row =
        database_.query("SELECT sequence, status FROM tasks WHERE id = ?1 AND node_id = ?2 AND batch IS NULL",
                        {task.id, task.node_id});
    if (row.step()) {
      sequence = row.integer(0);
      status = row.text(1);
    }
  }
  if (sequence == 0) {
    if (!database_.failed())
      database_.fail(
          Error{ErrorCode::conflict, "task " + task.id + " is there already, and of somebody else"});
    return 0;
  }
  database_.execute("UPDATE tasks SET batch = ?2 WHERE sequence = ?1", {sequence, batch.sequence});
  count_batch_tasks(batch, status, 1);
  return sequence;
}

void SqliteWrites::count_batch_tasks(const BatchRecord& batch, std::string_view status, std::size_t count) {
  database_.execute(
      "INSERT INTO batch_counts(batch, status, count) VALUES(?1, ?2, ?3) ON CONFLICT(batch, status) DO "
      "UPDATE SET "
      "count = count + ?3",
      {batch.sequence, status, count});
}

void SqliteWrites::remove_batch(std::int64_t sequence) {
  database_.execute("DELETE FROM batches WHERE sequence = ?1", {sequence});  // the rest goes with it
}

}  // namespace agenttask::server::sqlite
