#include <string>

#include "agent/ledger/clocks.hpp"
#include "agent/ledger/ledger_body.hpp"

// What is kept for a time, and when that is over. Each row that is over is dated by the first look that finds
// it; it goes when the ledger has lived as long as it is kept since then.
namespace agenttask::agent {
namespace {

constexpr std::string_view kIsOver = "status IN ('complete', 'failed', 'cancelled')";

/// Dates at most `most` rows of `table` that have no date; whether there may be more.
bool date_rows(storage::Database& database, std::string_view table, std::string_view condition,
               DurationMilliseconds lived, std::size_t most) {
  const std::string name(table);
  const auto dated = database.execute(
      "UPDATE " + name + " SET kept_since = ?1 WHERE rowid IN (SELECT rowid FROM " + name + " INDEXED BY " +
          name + "_not_dated WHERE kept_since IS NULL AND " + std::string(condition) + " LIMIT ?2)",
      {lived, most});
  return dated == static_cast<std::int64_t>(most);
}

bool date_everything(storage::Database& database, DurationMilliseconds lived, std::size_t most) {
  bool more = date_rows(database, "tasks", kIsOver, lived, most);
  more |= date_rows(database, "runs", "end_time IS NOT NULL", lived, most);
  more |= date_rows(database, "messages", "1", lived, most);
  more |= date_rows(database, "remembered", "1", lived, most);
  return more;
}

/// Removes ended tasks that the server has; their ids are remembered.
std::int64_t purge_tasks(LedgerWrite& write, DurationMilliseconds before, std::size_t most) {
  const auto rows = load_tasks(write.database,
                               "WHERE kept_since < ?1 AND " + std::string(kIsOver) +
                                   " AND reported <= ?2 ORDER BY kept_since LIMIT ?3",
                               {before, write.stream.acknowledged.sequence, most});
  for (const TaskRow& row : rows) {
    const TaskState& state = row.task.state;
    write.database.execute(
        "INSERT OR REPLACE INTO remembered (id, digest, status, reason, end_time, node_id)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        {row.task.spec.id, storage::Blob{load_digest(write.database, row.sequence)}, to_string(state.status),
         state.reason, state.end_time, row.task.spec.node_id});
    write.erase(row);
  }
  return static_cast<std::int64_t>(rows.size());
}

/// Runs of tasks that go on; the last of each stays.
void purge_runs(LedgerWrite& write, DurationMilliseconds before) {
  constexpr std::string_view kOld =
      "SELECT runs.task, runs.number FROM runs JOIN tasks ON tasks.sequence = runs.task"
      " WHERE runs.kept_since < ?1 AND runs.reported <= ?2 AND runs.number < tasks.run_count"
      " AND tasks.end_time IS NULL";
  {
    auto statement = write.database.query(
        "SELECT coalesce(sum(length(bytes)), 0) FROM output WHERE (task, run) IN (" + std::string(kOld) + ")",
        {before, write.stream.acknowledged.sequence});
    if (statement.step()) write.stream.output_bytes -= statement.integer(0);
  }
  write.database.execute("DELETE FROM runs WHERE (task, number) IN (" + std::string(kOld) + ")",
                         {before, write.stream.acknowledged.sequence});
}

/// Those that the server has, past their age or their number.
void purge_messages(LedgerWrite& write, DurationMilliseconds before, std::int64_t keep) {
  write.database.execute(
      "DELETE FROM messages WHERE reported <= ?1 AND (kept_since < ?2 OR sequence <="
      " (SELECT coalesce(max(sequence), 0) FROM messages) - ?3)",
      {write.stream.acknowledged.sequence, before, keep});
}

}  // namespace

Result<Purged> Ledger::purge(std::size_t most) {
  const LedgerOptions& options = body_->options();
  // Without a boot's id each start of the agent counts as one.
  const std::string& boot = options.boot_id.empty() ? body_->incarnation() : options.boot_id;
  return body_->write(commit_point::kTasksPurged, [&](LedgerWrite& write) -> Result<Purged> {
    const DurationMilliseconds lived = look_at_clocks(write, body_->clock(), boot);
    Purged purged;
    purged.more = date_everything(write.database, lived, most);
    // Enrolled, but the server has not asked for its snapshot yet: it knows of nothing that is here.
    if (!write.stream.node_id.empty() && !write.stream.alone && write.stream.epoch == 0) return purged;
    purged.tasks = purge_tasks(write, lived - options.retention, most);
    purged.more |= purged.tasks == static_cast<std::int64_t>(most);
    write.database.execute("DELETE FROM remembered WHERE kept_since < ?1", {lived - 2 * options.retention});
    purge_runs(write, lived - options.retention);
    purge_messages(write, lived - options.retention, options.keep_messages);
    return purged;
  });
}

}  // namespace agenttask::agent
