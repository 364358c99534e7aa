#pragma once
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"

namespace agenttask {

/// How long a store has lived, by time that passed for certain: what is kept for a time is kept by this, so
/// that no setting of the wall clock makes anything look old. It never goes back, and may lag behind.
///
/// Within one boot it follows the clock that counts sleep, also while no program of ours runs. How long a
/// machine was off only the wall clock can tell, and it may lie: it is believed where it shows a later time
/// than ever before, and for a day after each boot at most. So it runs ahead of the true time by no more than
/// a day a boot, and only where the wall clock was set ahead of all that it showed before.
///
/// A value, stored with the store it belongs to. Losing the last looks loses time, and never gains any.
struct LivedTime {
  /// What one boot may take from the wall clock for the time that the machine was off.
  static constexpr DurationMilliseconds kLongestAbsence = 24LL * 3'600'000;
  /// After so much time with an earlier wall clock its latest time was a wrong one.
  static constexpr DurationMilliseconds kDisbelief = 30 * kLongestAbsence;

  DurationMilliseconds total = 0;
  std::string boot_id;                  ///< of the last look
  DurationMilliseconds since_boot = 0;  ///< at the last look
  UnixMilliseconds wall = 0;            ///< at the last look; 0: there was none
  UnixMilliseconds latest_wall = 0;     ///< the latest time that the wall clock showed
  DurationMilliseconds at_latest = 0;   ///< `total` then
  DurationMilliseconds absence = 0;     ///< what this boot may still take from the wall clock

  /// Looks at the clocks. `boot` is the id of the host's boot, or where it has none another word for each
  /// start of the program. Returns by how much the wall clock moved besides the time that passed: more than 0
  /// when it was set ahead, or the machine was off for longer than is believed.
  DurationMilliseconds look(const Clock& clock, std::string_view boot);

  bool operator==(const LivedTime&) const = default;
};

}  // namespace agenttask
