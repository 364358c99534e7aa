#include "platform/os/system_clock.hpp"

#include <ctime>

namespace agenttask::os {

UnixMilliseconds SystemClock::wall() const {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

MonotonicTime SystemClock::monotonic() const {
  return std::chrono::steady_clock::now();
}

DurationMilliseconds SystemClock::since_boot() const {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);  // can't fail for a clock that every supported kernel has
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

}  // namespace agenttask::os
