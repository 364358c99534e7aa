#pragma once
#include <optional>

#include "platform/base/clock.hpp"
#include "server/store/records.hpp"

namespace agenttask::server {

/// Whether the wall clock can be believed when things are removed for their age. A clock that is set ahead
/// makes everything look old at once: tombstones and idempotency keys would go, and old tasks could run
/// again. So after a jump ahead nothing is removed until as much time has passed as anything is kept.
///
/// The wall clock is held against the time since boot from one look to the next, and at the start against
/// the last look of the process before. Threads: one at a time.
class ClockWatch {
 public:
  /// What the wall clock may gain between two looks: drift, and corrections by a time service.
  static constexpr DurationMilliseconds kLargestStep = 3'600'000;
  /// What a server may be away for: longer can't be told from a clock that was set ahead meanwhile.
  static constexpr DurationMilliseconds kLongestAbsence = 7 * limits::kDay;
  /// How often the last look is stored.
  static constexpr DurationMilliseconds kStoreEvery = 3'600'000;

  /// `keep`: as long as anything is kept.
  ClockWatch(const Clock& clock, DurationMilliseconds keep) : clock_(clock), keep_(keep) {}

  struct Look {
    UnixMilliseconds now = 0;
    bool may_remove = false;
    DurationMilliseconds jumped = 0;      ///< by how much the clock jumped ahead since the last look; 0: not
    std::optional<ClockRecord> to_store;  ///< this belongs into the store now
  };
  /// `stored`: what the store says; counts at the first look only.
  [[nodiscard]] Look look(const std::optional<ClockRecord>& stored);
  /// What a look gave is on disk.
  void is_stored(const ClockRecord& record) { stored_ = record; }

 private:
  [[nodiscard]] DurationMilliseconds jump(UnixMilliseconds now, DurationMilliseconds since_boot) const;

  const Clock& clock_;
  DurationMilliseconds keep_;
  UnixMilliseconds keep_until_ = 0;
  std::optional<ClockRecord> stored_;
  struct Seen {
    UnixMilliseconds wall = 0;
    DurationMilliseconds since_boot = 0;
  };
  std::optional<Seen> seen_;  ///< the look before, in this process
};

}  // namespace agenttask::server
