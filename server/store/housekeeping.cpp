#include "server/store/housekeeping.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/store/batches.hpp"
#include "server/store/changes.hpp"
#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;
constexpr auto kTick = 1s;
constexpr auto kFlushEvery = 30s;
constexpr auto kPurgeEvery = 10min;
constexpr auto kClockCheck =
    1min;  // what waits for a wall time is looked at again after this: clocks are set
constexpr std::size_t kBatch = 500;  // tasks in one job: other writes are not kept waiting for long
constexpr std::size_t kTrimmedTasks = 10;
constexpr std::size_t kTrimmedRuns = 50;  // of one task in one job

}  // namespace

std::size_t expire_tasks(WriteStore& store, UnixMilliseconds now, std::size_t limit) {
  std::size_t count = 0;
  for (const auto& id : store.expired_tasks(now, limit)) {
    auto record = store.task(id, WithData::no);
    if (!record) continue;
    end_alone(store, *record, TaskStatus::failed, reason::kExpired,
              "not sent to the device before options.expiresAt", now);
    ++count;
  }
  return count;
}

bool purge(WriteStore& store, const LookAtClocks& look, const RetentionSettings& settings,
           std::size_t limit) {
  const auto purgeable = store.purgeable_tasks(look.lived - settings.ended_tasks, limit);
  std::set<std::int64_t> batches;
  for (const auto& id : purgeable) {
    const auto record = store.task(id, WithData::no);
    if (!record) continue;
    const Task& task = record->task;
    store.insert_tombstone({task.spec.id, task.spec.node_id, record->digest,
                            encode_json(task_to_json(task, Detail::summary)), look.now});
    store.remove_task(id);
    if (record->batch != 0) batches.insert(record->batch);
  }
  for (const auto batch : batches) purge_batch(store, batch, look.now);
  store.forget_before(look.lived - settings.idempotency_keys,
                      look.lived - std::max(settings.tombstones, 30 * limits::kDay),
                      look.lived - settings.orphans, look.now);
  bool more = purgeable.size() == limit;
  more |= store.remove_messages_before(look.lived - settings.messages, limit) == limit;
  more |= store.date_what_is_over(look.lived, look.now, limit);
  return more;
}

bool trim_runs(WriteStore& store, std::int64_t keep) {
  const auto ids = store.tasks_with_many_runs(keep, kTrimmedTasks);
  bool more = ids.size() == kTrimmedTasks;
  for (const auto& id : ids) more |= !store.trim_runs(id, keep, kTrimmedRuns);
  return more;
}

Housekeeper::Housekeeper(Store& store, Writer& writer, Presence& presence, const Clock& clock, Logger& logger,
                         RetentionSettings settings, Bell& bell, std::string boot_id)
    : store_(store),
      writer_(writer),
      presence_(presence),
      clock_(clock),
      logger_(logger),
      settings_(settings),
      bell_(bell),
      clock_watch_(clock, std::move(boot_id)) {}

Housekeeper::~Housekeeper() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  bell_.ring();
  if (thread_.joinable()) thread_.join();
  flush_presence();
}

void Housekeeper::start() {
  thread_ = std::thread([this] {
    for (;;) {
      const auto looked = clock_.monotonic();
      tick();
      bell_.wait_until(clock_.monotonic() + next_wait());
      // However often it rings, once a second is enough.
      std::unique_lock lock(mutex_);
      if (wake_.wait_until(lock, looked + kTick, [this] { return stopping_; })) return;
    }
  });
}

void Housekeeper::tick() {
  const auto now = clock_.monotonic();
  expire_due();
  if (!flushed_ || now - *flushed_ >= kFlushEvery) {
    flushed_ = now;
    flush_presence();
  }
  if (!purged_ || now - *purged_ >= kPurgeEvery) {
    purged_ = now;
    trim_runs_due();
    purge_due();
  }
}

std::chrono::milliseconds Housekeeper::next_wait() const {
  const auto now = clock_.monotonic();
  MonotonicTime next = purged_.value_or(now) + kPurgeEvery;
  if (presence_.has_changed()) next = std::min(next, flushed_.value_or(now) + kFlushEvery);
  if (next_expiry_) {
    const std::chrono::milliseconds left(*next_expiry_ - clock_.wall());
    next = std::min(next, now + std::min<std::chrono::milliseconds>(left, kClockCheck));
  }
  return std::max<std::chrono::milliseconds>(std::chrono::ceil<std::chrono::milliseconds>(next - now), kTick);
}

void Housekeeper::expire_due() {
  const auto now = clock_.wall();
  {
    const auto lease = store_.read();
    if (!lease) return report("cannot look for expired tasks", lease.error());
    const auto due = (*lease)->next_expiry();
    if (const auto read = (*lease)->check(); !read)
      return report("cannot look for expired tasks", read.error());
    next_expiry_ = due;
    if (!due || *due > now) return;
  }
  std::size_t count = kBatch;
  while (count == kBatch) {
    const auto done = writer_.run([&](WriteStore& store) -> Result<void> {
      store.commits(commit_point::kTasksExpired);
      count = expire_tasks(store, now, kBatch);
      return {};
    });
    if (!done) return report("cannot expire tasks", done.error());
  }
}

/// Empty when the store could not be read: then this was no look.
std::optional<LookAtClocks> Housekeeper::look_at_clocks() {
  std::optional<LivedTime> stored;
  {
    const auto lease = store_.read();
    if (lease) stored = (*lease)->lived_time();
    if (const auto read = lease ? (*lease)->check() : Result<void>(lease.error()); !read) {
      report("cannot read how long the store has lived", read.error());
      return std::nullopt;
    }
  }
  const auto look = clock_watch_.look(stored);
  if (look.moved != 0) {
    logger_.warning(
        "the wall clock was set, or the machine was off for long: "
        "things are kept by the time that passed for certain",
        {{"by_ms", look.moved}});
  }
  if (look.to_store) {
    const auto done = writer_.run([&](WriteStore& store) -> Result<void> {
      store.commits(commit_point::kClockRecorded);
      store.set_lived_time(*look.to_store);
      return {};
    });
    if (done) {
      clock_watch_.is_stored();
    } else {
      report("cannot store how long the store has lived", done.error());
    }
  }
  return look;
}

void Housekeeper::purge_due() {
  const auto look = look_at_clocks();
  if (!look) return;
  for (bool more = true; more;) {
    const auto done = writer_.run([&](WriteStore& store) -> Result<void> {
      store.commits(commit_point::kTasksPurged);
      more = purge(store, *look, settings_, kBatch);
      return {};
    });
    if (!done) return report("cannot remove what is past its retention", done.error());
  }
}

void Housekeeper::trim_runs_due() {
  {
    const auto lease = store_.read();
    if (!lease) return report("cannot look for old runs", lease.error());
    const bool none = (*lease)->tasks_with_many_runs(settings_.runs, 1).empty();
    if (const auto read = (*lease)->check(); !read) return report("cannot look for old runs", read.error());
    if (none) return;
  }
  for (bool more = true; more;) {
    const auto done = writer_.run([&](WriteStore& store) -> Result<void> {
      store.commits(commit_point::kRunsTrimmed);
      more = trim_runs(store, settings_.runs);
      return {};
    });
    if (!done) return report("cannot remove old runs", done.error());
  }
}

void Housekeeper::flush_presence() {
  const auto changed = presence_.take_changed();
  if (changed.empty()) return;
  const auto done = writer_.run([&](WriteStore& store) -> Result<void> {
    store.commits(commit_point::kPresenceStored);
    for (const auto& seen : changed) store.set_last_seen(seen.node_id, seen.last_seen, seen.clock_offset);
    return {};
  });
  if (!done) report("cannot store when devices were last seen", done.error());
}

void Housekeeper::report(std::string_view what, const Error& error) {
  logger_.error(what, {{"error", error.message}});
}

}  // namespace agenttask::server
