#include "platform/os/local_zone.hpp"

#include <chrono>
#include <windows.h>

namespace agenttask::os {

std::optional<std::tm> wall_clock_at(std::int64_t seconds) {
  using namespace std::chrono;
  const sys_seconds moment{std::chrono::seconds{seconds}};
  const auto day = floor<days>(moment);
  const year_month_day date{day};
  const hh_mm_ss clock{moment - day};
  const int year = static_cast<int>(date.year());
  constexpr int kFirstYear = 1601;  // what SYSTEMTIME can say
  constexpr int kLastYear = 30827;
  if (year < kFirstYear || year > kLastYear) return std::nullopt;
  SYSTEMTIME utc{};
  utc.wYear = static_cast<WORD>(year);
  utc.wMonth = static_cast<WORD>(static_cast<unsigned>(date.month()));
  utc.wDay = static_cast<WORD>(static_cast<unsigned>(date.day()));
  utc.wHour = static_cast<WORD>(clock.hours().count());
  utc.wMinute = static_cast<WORD>(clock.minutes().count());
  utc.wSecond = static_cast<WORD>(clock.seconds().count());
  // The rules of that year, not of this one: they are in the zone's entry in the registry.
  TIME_ZONE_INFORMATION zone{};
  SYSTEMTIME local{};
  if (::GetTimeZoneInformationForYear(utc.wYear, nullptr, &zone) == 0 ||
      ::SystemTimeToTzSpecificLocalTime(&zone, &utc, &local) == 0) {
    return std::nullopt;
  }
  std::tm shown{};
  shown.tm_year = local.wYear - 1900;
  shown.tm_mon = local.wMonth - 1;
  shown.tm_mday = local.wDay;
  shown.tm_hour = local.wHour;
  shown.tm_min = local.wMinute;
  shown.tm_sec = local.wSecond;
  shown.tm_wday = local.wDayOfWeek;
  const sys_days first = year_month_day{std::chrono::year{local.wYear}, January, std::chrono::day{1}};
  const sys_days today = year_month_day{std::chrono::year{local.wYear}, std::chrono::month{local.wMonth},
                                        std::chrono::day{local.wDay}};
  shown.tm_yday = static_cast<int>((today - first).count());
  shown.tm_isdst = -1;  // not told
  return shown;
}

std::optional<std::int64_t> utc_offset_at(std::int64_t seconds) {
  using namespace std::chrono;
  const auto shown = wall_clock_at(seconds);
  if (!shown) return std::nullopt;
  const sys_days day =
      year_month_day{year{shown->tm_year + 1900}, month{static_cast<unsigned>(shown->tm_mon + 1)},
                     std::chrono::day{static_cast<unsigned>(shown->tm_mday)}};
  constexpr std::int64_t kDaySeconds = 24LL * 3600;
  const std::int64_t wall = day.time_since_epoch().count() * kDaySeconds + shown->tm_hour * 3600LL +
                            shown->tm_min * 60LL + shown->tm_sec;
  return wall - seconds;
}

}  // namespace agenttask::os
