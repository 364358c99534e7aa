#include "platform/os/system_clock.hpp"

#include <windows.h>

namespace agenttask::os {

UnixMilliseconds SystemClock::wall() const {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

MonotonicTime SystemClock::monotonic() const {
  return std::chrono::steady_clock::now();
}

DurationMilliseconds SystemClock::since_boot() const {
  return static_cast<DurationMilliseconds>(::GetTickCount64());  // goes on while the machine sleeps
}

}  // namespace agenttask::os
