#include "platform/base/lived_time.hpp"

#include <algorithm>

namespace agenttask {

DurationMilliseconds LivedTime::look(const Clock& clock, std::string_view boot) {
  const UnixMilliseconds now = clock.wall();
  const DurationMilliseconds up = clock.since_boot();
  const bool first = wall == 0;
  const DurationMilliseconds before = total;
  if (first) {
    latest_wall = now;
  } else if (boot_id == boot && up >= since_boot) {
    total += up - since_boot;
  } else {
    // Not even the time since this boot: the store may come from a backup of another machine.
    absence = kLongestAbsence;
  }
  if (now < latest_wall && total - at_latest >= kDisbelief) {
    latest_wall = now;
    at_latest = total;
  }
  if (now >= latest_wall) {
    const DurationMilliseconds claimed = (now - latest_wall) - (total - at_latest);
    const DurationMilliseconds believed = std::clamp<DurationMilliseconds>(claimed, 0, absence);
    total += believed;
    absence -= believed;
    latest_wall = now;
    at_latest = total;
  }
  const DurationMilliseconds moved = first ? 0 : now - wall - (total - before);
  boot_id = boot;
  since_boot = up;
  wall = now;
  return moved;
}

}  // namespace agenttask
