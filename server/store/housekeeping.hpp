#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>

#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"
#include "server/store/bell.hpp"
#include "server/store/clock_watch.hpp"
#include "server/store/presence.hpp"
#include "server/store/store.hpp"
#include "server/store/writer.hpp"

namespace agenttask::server {

/// How long things are kept, by the time that the store has lived (platform/base/lived_time.hpp) since
/// housekeeping first found them over.
struct RetentionSettings {
  DurationMilliseconds ended_tasks = 30 * limits::kDay;  ///< how long an ended task stays readable
  DurationMilliseconds tombstones = 30 * limits::kDay;   ///< after the purge; never less than 30 days
  DurationMilliseconds idempotency_keys = 30 * limits::kDay;
  DurationMilliseconds orphans = 30 * limits::kDay;
  DurationMilliseconds messages = 30 * limits::kDay;
  std::int64_t runs = HistoryLimits().runs;  ///< of a task, at least 1
};

/// Ends what expired and was never offered: `failed`, `expired`. At most `limit` tasks; how many it were.
std::size_t expire_tasks(WriteStore& store, UnixMilliseconds now, std::size_t limit);

/// Purges ended tasks past their retention, each leaving a tombstone, and forgets old keys, tombstones,
/// orphans and messages. Never a task about which the device has not acknowledged everything. Then dates what
/// is over and was not dated. At most `limit` of each; whether there may be more.
bool purge(WriteStore& store, const LookAtClocks& look, const RetentionSettings& settings, std::size_t limit);

/// Removes the oldest runs of tasks that have more than `keep`. At most some at once: whether there are more.
bool trim_runs(WriteStore& store, std::int64_t keep);

/// What the server does by itself: expiry when it is due (within a second), presence every 30 s, retention
/// every 10 minutes. One thread that sleeps until something is due or the bell rings (after commits, and when
/// devices were seen), and reads before it writes: an idle server wakes every 10 minutes, and writes once an
/// hour when it looked at the clock. Threads: construct and destroy on one; `tick` is what the thread does,
/// public for tests.
class Housekeeper {
 public:
  /// `boot_id`: of the host's present boot; where it has none, another word for each start of the server.
  Housekeeper(Store& store, Writer& writer, Presence& presence, const Clock& clock, Logger& logger,
              RetentionSettings settings, Bell& bell, std::string boot_id);
  ~Housekeeper();  ///< stops, and flushes presence once more while the writer still runs
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  /// Starts the thread.
  void start();
  /// One round: does what is due by the clock and waits for its commit.
  void tick();
  /// After a tick: how long nothing is due unless the bell rings; at least a second.
  [[nodiscard]] std::chrono::milliseconds next_wait() const;
  void flush_presence();

 private:
  void expire_due();
  void purge_due();
  void trim_runs_due();
  [[nodiscard]] std::optional<LookAtClocks> look_at_clocks();
  void report(std::string_view what, const Error& error);

  Store& store_;
  Writer& writer_;
  Presence& presence_;
  const Clock& clock_;
  Logger& logger_;
  RetentionSettings settings_;
  Bell& bell_;
  std::optional<UnixMilliseconds> next_expiry_;
  ClockWatch clock_watch_;
  std::optional<MonotonicTime> flushed_;
  std::optional<MonotonicTime> purged_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace agenttask::server
