#include "platform/os/local_zone.hpp"

#include <time.h>

namespace agenttask::os {

std::optional<std::tm> wall_clock_at(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local{};
  ::tzset();  // localtime_r need not look at TZ by itself
  if (::localtime_r(&time, &local) == nullptr) return std::nullopt;
  return local;
}

std::optional<std::int64_t> utc_offset_at(std::int64_t seconds) {
  const auto local = wall_clock_at(seconds);
  if (!local) return std::nullopt;
  return local->tm_gmtoff;
}

}  // namespace agenttask::os
