#include "agent/console/local_time.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

#include "platform/os/local_zone.hpp"

namespace agenttask::console {
namespace {

constexpr std::int64_t kDaySeconds = 24LL * 3600;

std::chrono::year_month_day date_of(const LocalTime& local) {
  return {std::chrono::year{local.year}, std::chrono::month{static_cast<unsigned>(local.month)},
          std::chrono::day{static_cast<unsigned>(local.day)}};
}

/// Seconds that the wall would show this at, were it in UTC.
std::int64_t as_if_utc(const LocalTime& local) {
  const std::int64_t days = std::chrono::sys_days{date_of(local)}.time_since_epoch().count();
  return days * kDaySeconds + local.hour * 3600LL + local.minute * 60LL + local.second;
}

}  // namespace

std::optional<LocalTime> to_local(UnixMilliseconds time) {
  const auto local = os::wall_clock_at(time / 1000);
  if (!local) return std::nullopt;
  return LocalTime{local->tm_year + 1900,
                   local->tm_mon + 1,
                   local->tm_mday,
                   local->tm_hour,
                   local->tm_min,
                   std::min(local->tm_sec, 59),
                   static_cast<int>(time % 1000)};
}

std::optional<UnixMilliseconds> from_local(const LocalTime& local) {
  if (!date_of(local).ok() || local.year < 1970) return std::nullopt;
  const std::int64_t wall = as_if_utc(local);
  // mktime says neither that a time is there twice nor that it is left out, so both offsets are tried: the
  // one before a change of the clocks nearby, and the one after.
  const auto before = os::utc_offset_at(wall - kDaySeconds);
  const auto after = os::utc_offset_at(wall + kDaySeconds);
  if (!before || !after) return std::nullopt;
  std::int64_t seconds = wall - *before;
  for (const std::int64_t candidate :
       std::array{std::min(wall - *before, wall - *after), std::max(wall - *before, wall - *after)}) {
    if (os::utc_offset_at(candidate) == wall - candidate) {
      seconds = candidate;
      break;
    }
  }
  return seconds * 1000 + local.millisecond;
}

LocalTime add_days(LocalTime local, int days) {
  const std::chrono::year_month_day date{std::chrono::sys_days{date_of(local)} + std::chrono::days{days}};
  local.year = static_cast<int>(date.year());
  local.month = static_cast<int>(static_cast<unsigned>(date.month()));
  local.day = static_cast<int>(static_cast<unsigned>(date.day()));
  return local;
}

unsigned weekday_of(const LocalTime& local) {
  return std::chrono::weekday{std::chrono::sys_days{date_of(local)}}.c_encoding();
}

}  // namespace agenttask::console
