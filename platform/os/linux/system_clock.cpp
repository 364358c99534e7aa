#include "platform/os/system_clock.hpp"

#include <ctime>

namespace agenttask::os {

DurationMilliseconds SystemClock::since_boot() const {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);  // can't fail for a clock that every supported kernel has
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

}  // namespace agenttask::os
