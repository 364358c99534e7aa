#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ledger/ledger.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::agent {

/// What the runner has at this moment.
struct Occupancy {
  std::size_t free_slots = 0;
  std::set<std::string> tasks;  ///< in a slot already, their start perhaps not yet on disk
  std::set<std::string> keys;   ///< concurrency keys of those
  std::function<bool(std::string_view type)> has_worker;
  /// Whether a run of it takes no time and no slot (TaskWorker::only_computes).
  std::function<bool(std::string_view type)> only_computes;
  /// Why nothing may start although there are slots (outbox-full, ledger-unwritable); empty: it may.
  std::string_view blocked;
  /// The same for people; empty: the reason says it all. Of what the system lacks (no-slot) it is there until
  /// that is known to be over, also while an attempt may be made.
  std::string blocked_detail;
};

/// What to do now, and when to look again.
struct Plan {
  std::vector<ReadyTask> at_once;  ///< those whose runs take no slot, in this order: some of them
  std::vector<ReadyTask> start;    ///< tasks to start, in this order
  /// By the wall clock; none: not before something changes.
  std::optional<UnixMilliseconds> look_again;
  /// The same in milliseconds since boot, for durations and grids, which no setting of the wall clock moves
  /// and a sleep of the machine does not stretch.
  std::optional<DurationMilliseconds> look_again_since_boot;
};

/// Decides what runs when. Holds nothing of the tasks: the ledger has them, in queues with an index each, so
/// that one plan costs the same with ten waiting tasks and with ten thousand.
///
/// Order: higher priority first, then order of arrival; a task whose key is held or whose type no worker
/// knows steps aside and delays nobody. Times are the wall clock's, read anew for each plan: one that
/// jumped makes tasks due or not due by what it says now, and nothing twice, as what started left the queue.
/// Waits between attempts are durations, and go on whatever the wall clock does.
/// Threads: one at a time.
class Scheduler {
 public:
  Scheduler(Ledger& ledger, const Clock& clock) : ledger_(ledger), clock_(clock) {}

  /// Ends what expired, readies what became due, picks what starts, and tells the server why the others wait.
  [[nodiscard]] Result<Plan> plan(const Occupancy& occupancy);

 private:
  [[nodiscard]] Result<void> pick(const Occupancy& occupancy, Plan& plan);
  /// What was told of a lack that is over, or of slots where something else is lacking, is told anew. True:
  /// some are left for a later look.
  [[nodiscard]] Result<bool> retell(std::string_view reason, const std::string& lacking);

  Ledger& ledger_;
  const Clock& clock_;
  std::optional<bool> told_lack_;  ///< whether those without a slot were told that the system lacks something
};

}  // namespace agenttask::agent
