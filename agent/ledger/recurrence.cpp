#include "agent/ledger/recurrence.hpp"

#include <algorithm>

#include "platform/base/encoding.hpp"

namespace agenttask::agent {

Passed passed(DurationMilliseconds next, DurationMilliseconds interval, DurationMilliseconds moment) {
  if (moment < next) return {0, next};
  const std::int64_t points = (moment - next) / interval + 1;
  return {points, next + points * interval};
}

Waiting take_due(const TaskSchedule& schedule, const Due& due, Before before, std::int64_t waiting) {
  Waiting result{waiting, 0, false};
  if (due.asleep > 0) {
    switch (schedule.catch_up) {
      case CatchUp::once:
        // A run that was cut off by the same downtime is over: its end makes room for the one that catches
        // up.
        if (before != Before::active && result.occurrences == 0) ++result.occurrences;
        result.missed += due.asleep - (result.occurrences > waiting ? 1 : 0);
        break;
      case CatchUp::all:
        result.occurrences += due.asleep;
        break;
      case CatchUp::skip:
        result.missed += due.asleep;
        break;
    }
  }
  if (due.awake > 0) {
    switch (schedule.overlap) {
      case Overlap::skip: {
        const bool runs = before == Before::nothing && result.occurrences == 0;
        if (runs) ++result.occurrences;
        result.missed += due.awake - (runs ? 1 : 0);
        break;
      }
      case Overlap::queue:
        result.occurrences += due.awake;
        break;
      case Overlap::cancel_previous:
        result.missed += result.occurrences + due.awake - 1;
        result.occurrences = 1;
        result.replace = before == Before::active;
        break;
    }
  }
  const std::int64_t most = limits::kOccurrencesQueued;
  if (result.occurrences > most) {
    result.missed += result.occurrences - most;
    result.occurrences = most;
  }
  return result;
}

DurationMilliseconds jitter_offset(DurationMilliseconds jitter, const std::string& task_id,
                                   const std::string& node_id) {
  if (jitter <= 0) return 0;
  const std::string digest = sha256(task_id + "\n" + node_id);
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i) number = number << 8U | static_cast<unsigned char>(digest[i]);
  return static_cast<DurationMilliseconds>(number % (static_cast<std::uint64_t>(jitter) + 1));
}

}  // namespace agenttask::agent
