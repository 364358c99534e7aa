#include "agent/console/time_text.hpp"

#include <array>
#include <cstdio>
#include <ctime>

#include "platform/os/local_zone.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;

}  // namespace

std::string format_time(UnixMilliseconds time) {
  const auto local = os::wall_clock_at(time / kSecond);
  if (!local) return std::to_string(time);
  std::array<char, 64> buffer{};
  const std::size_t length = std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%S", &*local);
  return {buffer.data(), length};
}

std::string format_time(UnixMilliseconds time, UnixMilliseconds now) {
  const auto whole_seconds = [](DurationMilliseconds span) {
    return format_duration(span / kSecond * kSecond);
  };
  const std::string distance = time >= now + kSecond   ? "in " + whole_seconds(time - now + kSecond - 1)
                               : now - time >= kSecond ? whole_seconds(now - time) + " ago"
                                                       : "just now";
  return format_time(time) + " (" + distance + ")";
}

std::string format_duration(DurationMilliseconds duration) {
  if (duration < 0) duration = 0;
  if (duration < kSecond) return std::to_string(duration) + "ms";
  if (duration < kMinute) {
    const std::string tenths = std::to_string(duration % kSecond / 100);
    return std::to_string(duration / kSecond) + (tenths == "0" ? "" : "." + tenths) + "s";
  }
  const auto two = [](std::int64_t large, char large_unit, std::int64_t small, char small_unit) {
    const std::string text = std::to_string(large) + large_unit;
    return small == 0 ? text : text + " " + std::to_string(small) + small_unit;
  };
  if (duration < kHour) return two(duration / kMinute, 'm', duration % kMinute / kSecond, 's');
  if (duration < limits::kDay) return two(duration / kHour, 'h', duration % kHour / kMinute, 'm');
  return two(duration / limits::kDay, 'd', duration % limits::kDay / kHour, 'h');
}

std::string format_interval(DurationMilliseconds interval) {
  if (interval <= 0) return "0ms";
  struct Unit {
    const char* name;
    std::int64_t milliseconds;
  };
  constexpr std::array<Unit, 5> kUnits{
      {{"d", limits::kDay}, {"h", kHour}, {"m", kMinute}, {"s", kSecond}, {"ms", 1}}};
  std::string text;
  for (const Unit& unit : kUnits) {
    const std::int64_t count = interval / unit.milliseconds;
    interval %= unit.milliseconds;
    if (count != 0) text += (text.empty() ? "" : " ") + std::to_string(count) + unit.name;
  }
  return text;
}

std::string format_age(DurationMilliseconds age) {
  if (age < kSecond) return "just now";
  if (age < kMinute) return std::to_string(age / kSecond) + "s ago";
  if (age < kHour) return std::to_string(age / kMinute) + "m ago";
  if (age < limits::kDay) return std::to_string(age / kHour) + "h ago";
  return std::to_string(age / limits::kDay) + "d ago";
}

std::string format_bytes(std::int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
  std::array<char, 32> buffer{};
  const int length =
      std::snprintf(buffer.data(), buffer.size(), value < 10 ? "%.1f %s" : "%.0f %s", value, kUnits.at(unit));
  return {buffer.data(), static_cast<std::size_t>(length)};
}

}  // namespace agenttask::console
