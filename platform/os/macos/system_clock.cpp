#include "platform/os/system_clock.hpp"

#include <mach/mach_time.h>

namespace agenttask::os {

// The ticks that go on while the machine sleeps. A fraction turns them into nanoseconds: in two parts, so
// that nothing overflows.
DurationMilliseconds SystemClock::since_boot() const {
  constexpr std::uint64_t kNanosecondsInAMillisecond = 1'000'000;
  mach_timebase_info_data_t base{};
  if (::mach_timebase_info(&base) != KERN_SUCCESS || base.denom == 0) return 0;
  const std::uint64_t ticks = ::mach_continuous_time();
  const std::uint64_t nanoseconds =
      ticks / base.denom * base.numer + ticks % base.denom * base.numer / base.denom;
  return static_cast<DurationMilliseconds>(nanoseconds / kNanosecondsInAMillisecond);
}

}  // namespace agenttask::os
