#pragma once
#include <cstdint>
#include <string>

#include "platform/base/clock.hpp"
#include "platform/protocol/task.hpp"

/// How a recurring task's grid and its occurrences relate: arithmetic only, no clock and no database.
namespace agenttask::agent {

/// Points of a grid up to and with a moment.
struct Passed {
  std::int64_t points = 0;
  DurationMilliseconds next = 0;  ///< the first point after the moment
};
/// `next` is the grid's next point as it was last known, `interval` is at least 1.
[[nodiscard]] Passed passed(DurationMilliseconds next, DurationMilliseconds interval,
                            DurationMilliseconds moment);

/// Occurrences that became due.
struct Due {
  std::int64_t asleep = 0;  ///< while the agent was down or the machine slept: `catchUp` is for them
  std::int64_t awake = 0;   ///< afterwards: `overlap` is for them
};

/// What an occurrence that is due meets.
enum class Before : std::uint8_t {
  nothing,  ///< the one before has ended
  active,   ///< the one before has not ended
  ending,   ///< the one before ends now; those that are due came while it was active
};

struct Waiting {
  std::int64_t occurrences = 0;  ///< wait behind the active one: always the newest, at most 100
  std::int64_t missed = 0;       ///< will never run
  bool replace = false;          ///< the active one gives way
};
/// Adds what is due to the occurrences that `waiting` already.
[[nodiscard]] Waiting take_due(const TaskSchedule& schedule, const Due& due, Before before,
                               std::int64_t waiting);

/// The part of `jitter` that a task has on a device: the same each time it is asked; 0 to `jitter`.
[[nodiscard]] DurationMilliseconds jitter_offset(DurationMilliseconds jitter, const std::string& task_id,
                                                 const std::string& node_id);

}  // namespace agenttask::agent
