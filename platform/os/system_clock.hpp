#pragma once
#include "platform/base/clock.hpp"

namespace agenttask::os {

/// The clocks of the machine. Threads: any.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] UnixMilliseconds wall() const override;
  [[nodiscard]] MonotonicTime monotonic() const override;
  [[nodiscard]] DurationMilliseconds since_boot() const override;
};

}  // namespace agenttask::os
