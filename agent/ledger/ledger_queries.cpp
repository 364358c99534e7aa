#include <algorithm>
#include <cctype>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "agent/ledger/ledger_body.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kShortestEnd = 4;
constexpr std::size_t kMostCandidates = 10;

OutputStream stream_of(std::int64_t value) {
  return value == 0 ? OutputStream::standard_output : OutputStream::standard_error;
}

/// When a wait that is a duration ends, told by the wall clock as it is now.
void tell_delay(TaskRow& row, const Clock& clock) {
  constexpr DurationMilliseconds kCorrection = 1000;
  auto& told = row.task.state.next_run_at;
  if (row.queue != Queue::delayed || !told) return;
  const UnixMilliseconds ends = clock.wall() + row.delay_until - clock.since_boot();
  if (std::abs(ends - *told) > kCorrection) told = ends;
}

}  // namespace

Result<Task> Ledger::get(std::string_view id) {
  return body_->read([&](storage::Database& database) -> Result<Task> {
    auto row = load_task(database, normalize_uuid(id));
    if (!row) return unknown_task(id);
    row->task.spec.data = load_data(database, row->sequence);
    tell_delay(*row, body_->clock());
    return std::move(row->task);
  });
}

Result<TaskPage> Ledger::list(const TaskFilter& filter, std::optional<std::int64_t> cursor,
                              std::size_t most) {
  return body_->read([&](storage::Database& database) -> Result<TaskPage> {
    const std::string tags = encode_json(nlohmann::json(filter.tags));
    const std::string status = filter.status ? std::string(to_string(*filter.status)) : std::string();
    // What waits for a choice is few, and has an index; people without other rights ask for it.
    const std::string few = filter.status == TaskStatus::awaiting_choice ? "WHERE queue = 6 AND " : "WHERE ";
    auto rows =
        load_tasks(database,
                   few +
                       "sequence < ?1 AND (deleted_at IS NOT NULL) = ?8 AND (?2 = '' OR type = ?2) "
                       "AND (?3 = '' OR status = ?3)"
                       " AND (?4 = '' OR room_id = ?4) AND (?5 = '' OR world_id = ?5)"
                       " AND NOT EXISTS (SELECT 1 FROM json_each(?6) AS wanted WHERE wanted.value NOT IN"
                       " (SELECT value FROM json_each(tasks.tags))) ORDER BY sequence DESC LIMIT ?7",
                   {cursor.value_or(INT64_MAX), filter.type, status, filter.room_id, filter.world_id, tags,
                    most + 1, static_cast<std::int64_t>(filter.deleted ? 1 : 0)});
    TaskPage page;
    if (rows.size() > most) {
      rows.resize(most);
      if (!rows.empty()) page.next_cursor = rows.back().sequence;
    }
    for (auto& row : rows) {
      row.task.state.result.clear();
      tell_delay(row, body_->clock());
      page.tasks.push_back(std::move(row.task));
    }
    return page;
  });
}

Result<std::vector<Run>> Ledger::runs(std::string_view id) {
  return body_->read([&](storage::Database& database) -> Result<std::vector<Run>> {
    const auto row = load_task(database, normalize_uuid(id));
    if (!row) return unknown_task(id);
    return load_runs(database, *row);
  });
}

Result<std::vector<OutputChunk>> Ledger::kept_output(std::string_view id, std::int64_t run, std::size_t skip,
                                                     std::size_t most) {
  return body_->read([&](storage::Database& database) -> Result<std::vector<OutputChunk>> {
    const auto row = load_task(database, normalize_uuid(id));
    if (!row) return unknown_task(id);
    std::vector<OutputChunk> chunks;
    const auto limit = static_cast<std::int64_t>(std::min<std::size_t>(most, INT32_MAX));
    auto statement = database.query(
        "SELECT stream, offset, bytes FROM output WHERE task = ?1 AND run = ?2 ORDER BY stream, offset"
        " LIMIT ?3 OFFSET ?4",
        {row->sequence, run, limit, static_cast<std::int64_t>(std::min<std::size_t>(skip, INT32_MAX))});
    while (statement.step()) {
      chunks.push_back({stream_of(statement.integer(0)), statement.integer(1), statement.text(2)});
    }
    return chunks;
  });
}

Result<std::vector<RoomMessage>> Ledger::messages(std::string_view room_id, std::size_t most,
                                                  std::string_view world_id) {
  return body_->read([&](storage::Database& database) -> Result<std::vector<RoomMessage>> {
    std::vector<RoomMessage> messages;
    auto rows =
        !world_id.empty()
            ? load_messages(
                  database,
                  "WHERE world_id = ?1 AND (?2 = '' OR room_id = ?2) ORDER BY sequence DESC LIMIT ?3",
                  {world_id, room_id, most})
        : room_id.empty()
            ? load_messages(database, "ORDER BY sequence DESC LIMIT ?1", {most})
            : load_messages(database, "WHERE room_id = ?1 ORDER BY sequence DESC LIMIT ?2", {room_id, most});
    for (auto row = rows.rbegin(); row != rows.rend(); ++row) messages.push_back(std::move(row->second));
    return messages;
  });
}

Result<std::string> Ledger::resolve(std::string_view text) {
  return body_->read([&](storage::Database& database) -> Result<std::string> {
    if (text == "@last") {
      std::string last = load_stream(database).last_created;
      if (!last.empty()) return last;
      return Error{
          ErrorCode::not_found,
          "nobody added a task on this device yet (tasks of a server don't count); agenttask list shows all",
          "id"};
    }
    const std::string end = normalize_uuid(text);
    const bool plain = std::all_of(end.begin(), end.end(), [](char c) {
      return c == '-' || std::isxdigit(static_cast<unsigned char>(c)) != 0;
    });
    if (!plain || end.size() < kShortestEnd || end.size() > 36) {
      return Error{ErrorCode::invalid, "an id is a UUID, its last 4 or more characters, or @last", "id"};
    }
    std::vector<std::string> found;
    auto statement = database.query(
        "SELECT id FROM tasks WHERE substr(id, -length(?1)) = ?1 ORDER BY sequence DESC LIMIT ?2",
        {end, kMostCandidates});
    while (statement.step()) found.push_back(statement.text(0));
    if (found.empty()) return unknown_task(text);
    if (found.size() == 1) return found.front();
    std::string message = "several tasks end with " + end + ":";
    for (const auto& id : found) message += " " + id;
    return Error{ErrorCode::conflict, message + "; give more characters", "id"};
  });
}

bool Ledger::held() {
  const auto hold = body_->read([](storage::Database& database) -> Result<bool> {
    return load_stream(database).hold() || !load_quarantine(database).empty();
  });
  return hold && *hold;
}

Result<LedgerStatus> Ledger::status() {
  return body_->read([&](storage::Database& database) -> Result<LedgerStatus> {
    const StreamRow stream = load_stream(database);
    LedgerStatus status;
    {
      auto statement = database.query("SELECT status, count(*) FROM tasks GROUP BY status");
      while (statement.step()) {
        if (const auto name = parse_task_status(statement.text(0)))
          status.tasks[*name] = statement.integer(1);
      }
    }
    {
      auto statement = database.query(
          "SELECT node_id, count(*), sum(status = 'running') FROM tasks WHERE node_id <> ?1 GROUP BY node_id",
          {stream.node_id});
      while (statement.step())
        status.former_nodes.push_back({statement.text(0), statement.integer(1), statement.integer(2)});
    }
    status.outbox_reports = stream.outbox_reports;
    status.outbox_bytes = stream.outbox_bytes;
    status.outbox_budget = body_->options().outbox_budget;
    status.file_bytes = database.size_bytes();
    status.epoch = stream.epoch;
    status.directives = stream.directives;
    status.reports = stream.reports;
    status.acknowledged = stream.acknowledged;
    status.held_by = stream.held_by;
    status.quarantine = load_quarantine(database);
    status.last_created = stream.last_created;
    status.node_id = stream.node_id;
    return status;
  });
}

}  // namespace agenttask::agent
