#include <algorithm>
#include <array>

#include "agent/ledger/clocks.hpp"
#include "agent/ledger/detail_text.hpp"
#include "agent/ledger/ledger_body.hpp"
#include "agent/ledger/occurrences.hpp"

namespace agenttask::agent {
namespace {

constexpr std::int64_t kAtOnce = 500;
/// Waits shorter than this are nobody's business.
constexpr DurationMilliseconds kWorthTelling = 1000;
/// What a ready task may have been told; each is one look into an index.
constexpr std::array<std::string_view, 6> kTold = {
    "", reason::kNoSlot, reason::kHeld, reason::kKeyHeld, reason::kOutboxFull, reason::kLedgerUnwritable};

constexpr std::string_view kRunsWithKey =
    "SELECT id FROM tasks WHERE status = 'running' AND concurrency_key = ?1";

bool finds(storage::Database& database, std::string_view sql, std::initializer_list<storage::Value> values) {
  auto statement = database.query(sql, values);
  return statement.step();
}

std::optional<UnixMilliseconds> first_time(storage::Database& database, std::string_view sql,
                                           std::initializer_list<storage::Value> values = {}) {
  auto statement = database.query(sql, values);
  return statement.step() ? statement.optional_integer(0) : std::nullopt;
}

bool something_is_due(storage::Database& database, UnixMilliseconds now, DurationMilliseconds since_boot) {
  return finds(database, "SELECT 1 FROM tasks WHERE queue = 0 AND next_run_at <= ?1 LIMIT 1", {now}) ||
         finds(database, "SELECT 1 FROM tasks WHERE queue = 4 AND delay_until <= ?1 LIMIT 1", {since_boot}) ||
         finds(database, "SELECT 1 FROM tasks WHERE tick IS NOT NULL AND tick <= ?1 LIMIT 1", {since_boot}) ||
         finds(database,
               "SELECT 1 FROM tasks WHERE queue = 6 AND choice_due IS NOT NULL AND choice_due <= ?1 LIMIT 1",
               {now}) ||
         finds(database,
               "SELECT 1 FROM tasks WHERE queue IS NOT NULL AND expires_at IS NOT NULL AND expires_at <= ?1 "
               "LIMIT 1",
               {now});
}

// Each of these takes at most kAtOnce tasks, and returns how many.

std::int64_t end_expired(LedgerWrite& write, UnixMilliseconds now) {
  auto rows = load_tasks(
      write.database,
      "WHERE queue IS NOT NULL AND expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
      {now, kAtOnce});
  for (TaskRow& row : rows) {
    write.end_without_run(row, TaskStatus::failed, reason::kExpired,
                          row.recurs() ? "options.expiresAt passed: it does not run again"
                                       : "it had not been started when options.expiresAt passed");
  }
  return static_cast<std::int64_t>(rows.size());
}

std::int64_t end_unanswered(LedgerWrite& write, UnixMilliseconds now) {
  auto rows = load_tasks(
      write.database,
      "WHERE queue = 6 AND choice_due IS NOT NULL AND choice_due <= ?1 ORDER BY choice_due LIMIT ?2",
      {now, kAtOnce});
  for (TaskRow& row : rows) choice_expired(write, row);
  return static_cast<std::int64_t>(rows.size());
}

std::int64_t ready_timed(LedgerWrite& write, UnixMilliseconds now, bool just_awoke) {
  // Those that simply run, all at once; those that ask first or begin a grid, one by one.
  constexpr std::string_view kDue =
      "WHERE queue = 0 AND next_run_at <= ?1 AND (question <> '' OR update_interval IS NOT NULL)"
      " ORDER BY next_run_at LIMIT ?2";
  auto rows = load_tasks(write.database, kDue, {now, kAtOnce});
  for (TaskRow& row : rows) {
    arrive(write, row, just_awoke);
    write.save_changed(row);
  }
  const auto readied = write.database.execute(
      "UPDATE tasks SET queue = 1, ready_at = ?1, reason = '', detail = '', next_run_at = NULL WHERE "
      "sequence IN"
      " (SELECT sequence FROM tasks WHERE queue = 0 AND next_run_at <= ?1 AND question = ''"
      " AND update_interval IS NULL ORDER BY next_run_at LIMIT ?2)",
      {now, kAtOnce});
  return std::max(readied, static_cast<std::int64_t>(rows.size()));
}

std::int64_t ready_delayed(LedgerWrite& write, UnixMilliseconds now, DurationMilliseconds since_boot) {
  return write.database.execute(
      "UPDATE tasks SET queue = 1, ready_at = ?1, next_run_at = NULL, delay_until = NULL,"
      // A check that says no again is no news.
      " reason = CASE reason WHEN 'validate-false' THEN reason ELSE '' END,"
      " detail = CASE reason WHEN 'validate-false' THEN detail ELSE '' END WHERE sequence IN"
      " (SELECT sequence FROM tasks WHERE queue = 4 AND delay_until <= ?2 ORDER BY delay_until LIMIT ?3)",
      {now, since_boot, kAtOnce});
}

std::int64_t tick_grids(LedgerWrite& write, DurationMilliseconds since_boot) {
  auto rows = load_tasks(write.database, "WHERE tick IS NOT NULL AND tick <= ?1 ORDER BY tick LIMIT ?2",
                         {since_boot, kAtOnce});
  for (TaskRow& row : rows) {
    const TaskState before = row.task.state;
    tick(write, row);
    // That it is ready to run is told by its run; what it asks, and what was missed, is news.
    const bool is_news = row.queue == Queue::choice || row.task.state.missed_count != before.missed_count;
    is_news ? write.save_often_changed(row) : save_task(write.database, row);
  }
  return static_cast<std::int64_t>(rows.size());
}

std::string_view detail_of(std::string_view reason) {
  if (reason == reason::kNoSlot) return "all slots of this device are taken by other tasks";
  if (reason == reason::kHeld) return "this device starts nothing new until somebody releases it";
  if (reason == reason::kKeyHeld) return "another task with the same concurrencyKey runs";
  if (reason == reason::kOutboxFull)
    return "too many reports wait for the server; nothing new starts until it takes them";
  return "";
}

/// Tells one reason to the rows that `condition` gives; returns how many.
std::int64_t tell(LedgerWrite& write, std::string_view reason, std::string_view detail,
                  std::string_view condition, std::initializer_list<storage::Value> values) {
  auto rows = load_tasks(write.database, condition, values);
  for (TaskRow& row : rows) {
    row.task.state.reason = reason;
    row.task.state.detail = to_detail(detail);
    write.save_often_changed(row);
  }
  return static_cast<std::int64_t>(rows.size());
}

}  // namespace

Result<bool> Ledger::advance_time(UnixMilliseconds now) {
  const DurationMilliseconds since_boot = body_->clock().since_boot();
  DurationMilliseconds wall_change = 0;
  auto something = body_->read([&](storage::Database& database) -> Result<bool> {
    body_->note_sleep();
    wall_change = body_->wall_change();
    return wall_change != 0 || something_is_due(database, now, since_boot);
  });
  if (something && !*something) body_->just_awoke() = false;
  if (!something || !*something) return something;
  return body_->write(commit_point::kTimeAdvanced, [&](LedgerWrite& write) -> Result<bool> {
    if (wall_change != 0) {
      wait_since_now(write);
      move_grids(write, wall_change);
    }
    std::int64_t most = 0;
    for (const std::int64_t count :
         {end_expired(write, now), end_unanswered(write, now), ready_timed(write, now, body_->just_awoke()),
          ready_delayed(write, now, since_boot), tick_grids(write, since_boot)}) {
      most = std::max(most, count);
    }
    // The one who asks looks at the queue next anyway; nobody else has to be woken for it.
    write.change.work = false;
    return most == kAtOnce;
  });
}

Result<std::vector<ReadyTask>> Ledger::ready(const std::optional<ReadyTask>& after, std::size_t most) {
  return body_->read([&](storage::Database& database) -> Result<std::vector<ReadyTask>> {
    std::vector<ReadyTask> tasks;
    auto statement = database.query(
        "SELECT id, type, concurrency_key, priority, sequence FROM tasks WHERE queue = 1"
        " AND (-priority, sequence) > (-?1, ?2) ORDER BY priority DESC, sequence LIMIT ?3",
        {after ? after->priority : limits::kPriority + 1, after ? after->sequence : 0, most});
    while (statement.step()) {
      tasks.push_back({statement.text(0), statement.text(1), statement.text(2), statement.integer(3),
                       statement.integer(4)});
    }
    return tasks;
  });
}

Result<void> Ledger::park(std::span<const std::string> ids, std::string_view reason,
                          std::string_view detail) {
  if (ids.empty()) return {};
  return body_->write(commit_point::kTasksParked, [&](LedgerWrite& write) -> Result<void> {
    for (const std::string& id : ids) {
      auto row = load_task(write.database, id);
      if (!row || row->queue != Queue::ready) continue;
      TaskState& state = row->task.state;
      const std::string& key = row->task.spec.options.concurrency_key;
      if (reason == reason::kKeyHeld) {
        if (!write.key_is_taken(key)) continue;
        row->queue = Queue::key_held;
        // Told later, if it lasts: most keys are free again soon.
        if (state.reason != reason) state.reason.clear();
        save_task(write.database, *row);
        continue;
      }
      row->queue = Queue::no_worker;
      const bool is_news = state.reason != reason;
      state.reason = reason;
      state.detail = to_detail(detail);
      is_news ? write.save_often_changed(*row) : save_task(write.database, *row);
      write.release_key(key);
    }
    write.change.work = false;
    return {};
  });
}

Result<std::int64_t> Ledger::report_waits(std::string_view reason, UnixMilliseconds now, std::size_t most,
                                          std::string_view detail) {
  if (detail.empty()) detail = detail_of(reason);
  auto told = body_->write(commit_point::kWaitsReported, [&](LedgerWrite& write) -> Result<std::int64_t> {
    const auto limit = static_cast<std::int64_t>(most);
    std::int64_t count = 0;
    for (const std::string_view before : kTold) {
      if (reason.empty() || before == reason || count >= limit) continue;
      count += tell(write, reason, detail,
                    "WHERE queue = 1 AND reason = ?1 AND ready_at <= ?2 ORDER BY ready_at LIMIT ?3",
                    {before, now - kWorthTelling, limit - count});
    }
    if (count < limit) {
      count += tell(write, reason::kKeyHeld, detail_of(reason::kKeyHeld),
                    "WHERE queue = 3 AND reason = '' AND ready_at <= ?1 ORDER BY ready_at LIMIT ?2",
                    {now - kWorthTelling, limit - count});
    }
    return count;
  });
  return told;
}

Result<std::int64_t> Ledger::retell_waits(std::string_view reason, std::size_t most,
                                          std::string_view detail) {
  if (detail.empty()) detail = detail_of(reason);
  return body_->write(commit_point::kWaitsReported, [&](LedgerWrite& write) -> Result<std::int64_t> {
    return tell(write, reason, detail,
                "WHERE queue = 1 AND reason = ?1 AND detail <> ?2 ORDER BY ready_at LIMIT ?3",
                {reason, to_detail(detail), static_cast<std::int64_t>(most)});
  });
}

Result<LedgerTimes> Ledger::times(std::string_view reason) {
  return body_->read([&](storage::Database& database) -> Result<LedgerTimes> {
    LedgerTimes times;
    times.due =
        first_time(database, "SELECT next_run_at FROM tasks WHERE queue = 0 ORDER BY next_run_at LIMIT 1");
    times.delay_ends =
        first_time(database, "SELECT delay_until FROM tasks WHERE queue = 4 ORDER BY delay_until LIMIT 1");
    times.expires =
        first_time(database,
                   "SELECT expires_at FROM tasks WHERE queue IS NOT NULL AND expires_at IS NOT NULL"
                   " ORDER BY expires_at LIMIT 1");
    const auto choice_due =
        first_time(database,
                   "SELECT choice_due FROM tasks WHERE queue = 6 AND choice_due IS NOT NULL"
                   " ORDER BY choice_due LIMIT 1");
    if (choice_due) times.expires = std::min(*choice_due, times.expires.value_or(*choice_due));
    const auto tick =
        first_time(database, "SELECT tick FROM tasks WHERE tick IS NOT NULL ORDER BY tick LIMIT 1");
    if (tick) times.delay_ends = std::min(*tick, times.delay_ends.value_or(*tick));
    const auto earlier = [&](std::optional<UnixMilliseconds> time) {
      if (time) times.waiting_since = std::min(*time, times.waiting_since.value_or(*time));
    };
    for (const std::string_view before : kTold) {
      if (reason.empty() || before == reason) continue;
      earlier(first_time(
          database, "SELECT ready_at FROM tasks WHERE queue = 1 AND reason = ?1 ORDER BY ready_at LIMIT 1",
          {before}));
    }
    earlier(first_time(
        database, "SELECT ready_at FROM tasks WHERE queue = 3 AND reason = '' ORDER BY ready_at LIMIT 1"));
    return times;
  });
}

Result<std::optional<std::string>> Ledger::running_with_key(std::string_view key) {
  return body_->read([&](storage::Database& database) -> Result<std::optional<std::string>> {
    auto statement = database.query(kRunsWithKey, {key});
    return statement.step() ? std::optional(statement.text(0)) : std::nullopt;
  });
}

}  // namespace agenttask::agent
