#include "platform/os/system_clock.hpp"

namespace agenttask::os {

// The third clock, which goes on while the machine sleeps, is each system's own.
UnixMilliseconds SystemClock::wall() const {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

MonotonicTime SystemClock::monotonic() const {
  return std::chrono::steady_clock::now();
}

}  // namespace agenttask::os
