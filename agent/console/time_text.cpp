#include "agent/console/time_text.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <limits>
#include <optional>

#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Error bad_time(std::string_view text) {
  return {ErrorCode::invalid,
          "'" + std::string(text) +
              "' is not a time; write 2026-11-22T05:10:00Z, 2026-11-22T05:10 (local time), "
              "+90s (from now), or milliseconds since the Unix epoch"};
}

/// Reads ISO 8601 from left to right.
class IsoReader {
 public:
  explicit IsoReader(std::string_view text) : text_(text) {}
  [[nodiscard]] bool at_end() const { return text_.empty(); }
  bool skip(char character) {
    if (text_.empty() || text_.front() != character) return false;
    text_.remove_prefix(1);
    return true;
  }
  /// Exactly `count` digits.
  std::optional<int> digits(std::size_t count) {
    if (text_.size() < count) return std::nullopt;
    int value = 0;
    for (const char digit : text_.substr(0, count)) {
      if (digit < '0' || digit > '9') return std::nullopt;
      value = value * 10 + (digit - '0');
    }
    text_.remove_prefix(count);
    return value;
  }
  /// The digits after a decimal point, as milliseconds; what is finer is dropped.
  std::optional<int> fraction() {
    int value = 0;
    int weight = 100;
    std::size_t count = 0;
    while (!text_.empty() && text_.front() >= '0' && text_.front() <= '9') {
      value += (text_.front() - '0') * weight;
      weight /= 10;
      ++count;
      text_.remove_prefix(1);
    }
    return count == 0 ? std::nullopt : std::optional(value);
  }

 private:
  std::string_view text_;
};

struct LocalTime {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, millisecond = 0;
  std::optional<std::int64_t> offset;  ///< minutes east of UTC; none: local
};

bool read_date(IsoReader& reader, LocalTime& time) {
  const auto year = reader.digits(4);
  if (!year || !reader.skip('-')) return false;
  const auto month = reader.digits(2);
  if (!month || !reader.skip('-')) return false;
  const auto day = reader.digits(2);
  if (!day) return false;
  time.year = *year, time.month = *month, time.day = *day;
  return true;
}

bool read_clock(IsoReader& reader, LocalTime& time) {
  const auto hour = reader.digits(2);
  if (!hour || !reader.skip(':')) return false;
  const auto minute = reader.digits(2);
  if (!minute || *hour > 23 || *minute > 59) return false;
  time.hour = *hour, time.minute = *minute;
  if (!reader.skip(':')) return true;
  const auto second = reader.digits(2);
  if (!second || *second > 59) return false;
  time.second = *second;
  if (!reader.skip('.')) return true;
  const auto fraction = reader.fraction();
  if (!fraction) return false;
  time.millisecond = *fraction;
  return true;
}

bool read_zone(IsoReader& reader, LocalTime& time) {
  if (reader.at_end()) return true;
  if (reader.skip('Z') || reader.skip('z')) {
    time.offset = 0;
    return true;
  }
  const int sign = reader.skip('+') ? 1 : reader.skip('-') ? -1 : 0;
  if (sign == 0) return false;
  const auto hours = reader.digits(2);
  reader.skip(':');
  const auto minutes = reader.digits(2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return false;
  time.offset = sign * (*hours * 60 + *minutes);
  return true;
}

std::optional<UnixMilliseconds> to_unix(const LocalTime& time) {
  const std::chrono::year_month_day date{std::chrono::year{time.year},
                                         std::chrono::month{static_cast<unsigned>(time.month)},
                                         std::chrono::day{static_cast<unsigned>(time.day)}};
  if (!date.ok() || time.year < 1970) return std::nullopt;
  const std::int64_t clock =
      time.hour * kHour + time.minute * kMinute + time.second * kSecond + time.millisecond;
  if (time.offset) {
    const std::int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
    return days * limits::kDay + clock - *time.offset * kMinute;
  }
  std::tm local{};
  local.tm_year = time.year - 1900;
  local.tm_mon = time.month - 1;
  local.tm_mday = time.day;
  local.tm_hour = time.hour;
  local.tm_min = time.minute;
  local.tm_sec = time.second;
  local.tm_isdst = -1;
  const std::time_t seconds = std::mktime(&local);
  if (seconds == static_cast<std::time_t>(-1)) return std::nullopt;
  return static_cast<std::int64_t>(seconds) * kSecond + time.millisecond;
}

}  // namespace

Result<DurationMilliseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t milliseconds;
  };
  constexpr std::array<Unit, 5> kUnits{
      {{"ms", 1}, {"s", kSecond}, {"m", kMinute}, {"h", kHour}, {"d", limits::kDay}}};
  const Error wrong{ErrorCode::invalid,
                    "'" + std::string(text) + "' is not a duration; write 500ms, 30s, 2m, 1h or 7d"};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto value = parse_integer(text.substr(0, digits));
  if (!value) return wrong;
  if (*value == 0 && digits == text.size()) return 0;
  if (digits == text.size()) {
    const std::string number(text);
    return Error{ErrorCode::invalid, "'" + number + "' has no unit: " + number + "s or " + number + "ms?"};
  }
  for (const Unit& unit : kUnits) {
    if (text.substr(digits) != unit.name) continue;
    if (*value > std::numeric_limits<std::int64_t>::max() / unit.milliseconds) return wrong;
    return *value * unit.milliseconds;
  }
  return wrong;
}

Result<UnixMilliseconds> parse_time(std::string_view text, UnixMilliseconds now) {
  if (!text.empty() && text.front() == '+') {
    const auto later = parse_duration(text.substr(1));
    if (!later) return later.error();
    if (*later > limits::kLatestTime - now) return bad_time(text);
    return now + *later;
  }
  if (const auto milliseconds = parse_integer(text)) {
    // Seconds where milliseconds belong would silently mean January 1970.
    constexpr std::int64_t kLeast = 100'000'000'000;
    if (*milliseconds >= kLeast && *milliseconds <= limits::kLatestTime) return *milliseconds;
    return bad_time(text);
  }
  IsoReader reader(text);
  LocalTime time;
  if (!read_date(reader, time)) return bad_time(text);
  if (!reader.at_end()) {
    const bool separated = reader.skip('T') || reader.skip('t') || reader.skip(' ');
    if (!separated || !read_clock(reader, time) || !read_zone(reader, time) || !reader.at_end()) {
      return bad_time(text);
    }
  }
  const auto result = to_unix(time);
  if (!result || *result < 0 || *result > limits::kLatestTime) return bad_time(text);
  return *result;
}

std::string format_time(UnixMilliseconds time) {
  const auto seconds = static_cast<std::time_t>(time / kSecond);
  const std::tm* local = std::localtime(&seconds);
  if (local == nullptr) return std::to_string(time);
  std::array<char, 64> buffer{};
  const std::size_t length = std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%S", local);
  return {buffer.data(), length};
}

std::string format_time(UnixMilliseconds time, UnixMilliseconds now) {
  const auto whole_seconds = [](DurationMilliseconds span) {
    return format_duration(span / kSecond * kSecond);
  };
  const std::string distance = time >= now + kSecond   ? "in " + whole_seconds(time - now)
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
