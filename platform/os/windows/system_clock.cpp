#include "platform/os/system_clock.hpp"

#include <windows.h>

namespace agenttask::os {

DurationMilliseconds SystemClock::since_boot() const {
  return static_cast<DurationMilliseconds>(::GetTickCount64());  // goes on while the machine sleeps
}

}  // namespace agenttask::os
