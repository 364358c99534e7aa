// The times and durations that people type; declared in time_text.hpp.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>

#include "agent/console/local_time.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;

Error bad_time(std::string_view text) {
  return {ErrorCode::invalid,
          "'" + std::string(text) +
              "' is not a time; write \"tomorrow 09:00\", \"monday 8:00\", 18:30 (the next one), +90s or "
              "\"in 2h\" (from now), 2026-11-22T05:10 (local time), 2026-11-22T05:10:00Z, or milliseconds "
              "since the Unix epoch"};
}

Error bad_duration(std::string_view text) {
  return {ErrorCode::invalid,
          "'" + std::string(text) + "' is not a duration; write 500ms, 30s, 2m, 1h30m, 7d or \"2 hours\""};
}

/// Reads from left to right. Letters count alike in either case.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  [[nodiscard]] bool at_end() const { return text_.empty(); }
  bool skip(char character) {
    if (text_.empty() || text_.front() != character) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool skip_blanks() {
    const std::size_t before = text_.size();
    while (skip(' ')) {
    }
    return text_.size() != before;
  }
  /// From `least` to `most` digits.
  std::optional<int> digits(std::size_t least, std::size_t most) {
    int value = 0;
    std::size_t count = 0;
    while (count < most && count < text_.size() && is_digit(text_[count])) {
      value = value * 10 + (text_[count++] - '0');
    }
    if (count < least) return std::nullopt;
    text_.remove_prefix(count);
    return value;
  }
  /// As many digits as there are; nothing where they are none or too many.
  std::optional<std::int64_t> number() {
    const auto end = std::find_if_not(text_.begin(), text_.end(), is_digit);
    std::int64_t value = 0;
    const auto count = static_cast<std::size_t>(end - text_.begin());
    const auto [unused, error] = std::from_chars(text_.data(), text_.data() + count, value);
    if (count == 0 || error != std::errc{}) return std::nullopt;
    text_.remove_prefix(count);
    return value;
  }
  /// The digits after a decimal point, as milliseconds; what is finer is dropped.
  std::optional<int> fraction() {
    int value = 0;
    int weight = 100;
    std::size_t count = 0;
    for (; count < text_.size() && is_digit(text_[count]); ++count) {
      value += (text_[count] - '0') * weight;
      weight /= 10;
    }
    text_.remove_prefix(count);
    return count == 0 ? std::nullopt : std::optional(value);
  }
  /// Whether this word, written just so, comes next.
  [[nodiscard]] bool sees(std::string_view word) const {
    return text_.starts_with(word) && Reader(text_).word().size() == word.size();
  }
  /// The letters that come next, in small ones; empty where there are none.
  std::string word() {
    std::string letters;
    while (!text_.empty()) {
      const char letter = text_.front();
      const bool large = letter >= 'A' && letter <= 'Z';
      if (!large && (letter < 'a' || letter > 'z')) break;
      letters += large ? static_cast<char>(letter - 'A' + 'a') : letter;
      text_.remove_prefix(1);
    }
    return letters;
  }

 private:
  static bool is_digit(char character) { return character >= '0' && character <= '9'; }
  std::string_view text_;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// ---- durations

struct Unit {
  std::int64_t milliseconds;
  std::array<std::string_view, 5> names;
};
constexpr std::array<Unit, 6> kUnits{{{7 * limits::kDay, {"w", "week", "weeks", "weekly"}},
                                      {limits::kDay, {"d", "day", "days", "daily"}},
                                      {kHour, {"h", "hour", "hours", "hr", "hourly"}},
                                      {kMinute, {"m", "min", "minute", "minutes", "mins"}},
                                      {kSecond, {"s", "sec", "second", "seconds", "secs"}},
                                      {1, {"ms", "millisecond", "milliseconds"}}}};

const Unit* find_unit(std::string_view name) {
  if (name.empty()) return nullptr;
  const auto* found = std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& unit) {
    return std::find(unit.names.begin(), unit.names.end(), name) != unit.names.end();
  });
  return found == kUnits.end() ? nullptr : found;
}

// ---- times

struct Clock {
  int hour = 0, minute = 0, second = 0, millisecond = 0;
};

enum class ClockForm : std::uint8_t {
  iso,       ///< `09:00`, `09:00:30.5`: two digits each
  free,      ///< also `8:00`, `9am`, `9:30 pm`
  after_at,  ///< also `9`, by the 24 hours of a day as everywhere
};

std::optional<Clock> read_clock(Reader& reader, ClockForm form) {
  const bool iso = form == ClockForm::iso;
  const auto hour = reader.digits(iso ? 2 : 1, 2);
  if (!hour || *hour > 23) return std::nullopt;
  Clock clock{*hour};
  const bool has_minutes = reader.skip(':');
  if (has_minutes) {
    const auto minute = reader.digits(2, 2);
    if (!minute || *minute > 59) return std::nullopt;
    clock.minute = *minute;
    if (reader.skip(':')) {
      const auto second = reader.digits(2, 2);
      if (!second || *second > 59) return std::nullopt;
      clock.second = *second;
      if (reader.skip('.')) {
        const auto fraction = reader.fraction();
        if (!fraction) return std::nullopt;
        clock.millisecond = *fraction;
      }
    }
  }
  if (iso) return has_minutes ? std::optional(clock) : std::nullopt;
  reader.skip_blanks();
  if (const std::string half = reader.word(); half == "am" || half == "pm") {
    if (clock.hour == 0 || clock.hour > 12) return std::nullopt;
    clock.hour = clock.hour % 12 + (half == "pm" ? 12 : 0);
    return clock;
  } else if (!half.empty()) {
    return std::nullopt;
  }
  return has_minutes || form == ClockForm::after_at ? std::optional(clock) : std::nullopt;
}

/// Minutes east of UTC; nothing and true where no zone is given.
bool read_zone(Reader& reader, std::optional<std::int64_t>& offset) {
  if (reader.at_end()) return true;
  if (reader.skip('Z') || reader.skip('z')) {
    offset = 0;
    return true;
  }
  const int sign = reader.skip('+') ? 1 : reader.skip('-') ? -1 : 0;
  if (sign == 0) return false;
  const auto hours = reader.digits(2, 2);
  reader.skip(':');
  const auto minutes = reader.digits(2, 2);
  if (!hours || !minutes || *hours > 23 || *minutes > 59) return false;
  offset = sign * (*hours * 60 + *minutes);
  return true;
}

void set_clock(LocalTime& local, const Clock& clock) {
  local.hour = clock.hour, local.minute = clock.minute;
  local.second = clock.second, local.millisecond = clock.millisecond;
}

/// `2026-11-22`, `2026-11-22T05:10`, `2026-11-22 05:10:30.5+01:00`
std::optional<UnixMilliseconds> read_iso(std::string_view text) {
  Reader reader(text);
  const auto year = reader.digits(4, 4);
  if (!year || !reader.skip('-')) return std::nullopt;
  const auto month = reader.digits(2, 2);
  if (!month || !reader.skip('-')) return std::nullopt;
  const auto day = reader.digits(2, 2);
  if (!day) return std::nullopt;
  LocalTime local{*year, *month, *day};
  std::optional<std::int64_t> offset;
  if (!reader.at_end()) {
    if (!reader.skip('T') && !reader.skip('t') && !reader.skip_blanks()) return std::nullopt;
    const auto clock = read_clock(reader, ClockForm::iso);
    if (!clock || !read_zone(reader, offset) || !reader.at_end()) return std::nullopt;
    set_clock(local, *clock);
  }
  if (!offset) return from_local(local);
  const std::chrono::year_month_day date{std::chrono::year{local.year},
                                         std::chrono::month{static_cast<unsigned>(local.month)},
                                         std::chrono::day{static_cast<unsigned>(local.day)}};
  if (!date.ok()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
  return days * limits::kDay + local.hour * kHour + local.minute * kMinute + local.second * kSecond +
         local.millisecond - *offset * kMinute;
}

/// Which day a word names, counted from today: 0, 1; of a weekday the next one, today included.
std::optional<int> days_ahead(const std::string& word, const LocalTime& today) {
  if (word == "today") return 0;
  if (word == "tomorrow") return 1;
  constexpr std::array<std::string_view, 7> kDays{"sunday",   "monday", "tuesday", "wednesday",
                                                  "thursday", "friday", "saturday"};
  for (unsigned i = 0; i < kDays.size(); ++i) {
    if (word != kDays[i] && word != kDays[i].substr(0, 3)) continue;
    return static_cast<int>((i + 7 - weekday_of(today)) % 7);
  }
  return std::nullopt;
}

/// `tomorrow 09:00`, `monday at 8:00`, `18:30`. A weekday or a bare time is the next one.
std::optional<UnixMilliseconds> read_phrase(std::string_view text, UnixMilliseconds now) {
  const auto today = to_local(now);
  if (!today) return std::nullopt;
  Reader reader(text);
  std::string word = reader.word();
  const bool names_a_day = word == "today" || word == "tomorrow";
  int days = 0;
  int period = 1;  // after so many days the same phrase fits again
  if (!word.empty() && word != "at" && word != "noon" && word != "midnight") {
    const auto ahead = days_ahead(word, *today);
    if (!ahead || !reader.skip_blanks()) return std::nullopt;
    days = *ahead;
    period = 7;
    word = reader.word();
  }
  const bool says_at = word == "at";
  if (says_at) {
    if (!reader.skip_blanks()) return std::nullopt;
    word = reader.word();
  }
  std::optional<Clock> clock;
  if (word == "noon") {
    clock = Clock{12};
  } else if (word == "midnight" && !names_a_day && period == 1) {
    clock = Clock{};  // the next one; of a day's midnight nobody knows whether it begins or ends that day
  } else if (word.empty()) {
    clock = read_clock(reader, says_at ? ClockForm::after_at : ClockForm::free);
  }
  if (!clock || !reader.at_end()) return std::nullopt;
  LocalTime local = *today;
  set_clock(local, *clock);
  auto time = from_local(add_days(local, days));
  if (time && *time <= now && !names_a_day) time = from_local(add_days(local, days + period));
  return time;
}

}  // namespace

Result<DurationMilliseconds> parse_duration(std::string_view text) {
  Reader reader(text);
  std::int64_t sum = 0;
  std::int64_t last = std::numeric_limits<std::int64_t>::max();
  bool any = false;
  while (!reader.at_end()) {
    const auto value = reader.number();
    if (!value) return bad_duration(text);
    if (reader.at_end() && !any) {
      if (*value == 0) return 0;
      const std::string number(text);
      return Error{ErrorCode::invalid, "'" + number + "' has no unit: " + number + "s or " + number + "ms?"};
    }
    reader.skip_blanks();
    if (reader.sees("M")) {
      return Error{ErrorCode::invalid, "'" + std::string(text) + "' could mean minutes or months; write " +
                                           std::to_string(*value) + "m, or months in days"};
    }
    const Unit* unit = find_unit(reader.word());
    // Each unit once and the large ones first: 30m1h is more likely a slip than a wish.
    if (unit == nullptr || unit->milliseconds >= last) return bad_duration(text);
    if (*value > (limits::kLatestTime - sum) / unit->milliseconds) return bad_duration(text);
    sum += *value * unit->milliseconds;
    last = unit->milliseconds;
    any = true;
    if (reader.skip_blanks() && reader.at_end()) return bad_duration(text);
  }
  if (!any) return bad_duration(text);
  return sum;
}

Result<DurationMilliseconds> parse_interval(std::string_view text) {
  Reader reader(text);
  std::string word = reader.word();
  if (word == "every" && reader.skip_blanks()) word = reader.word();
  DurationMilliseconds interval = 0;
  if (!word.empty()) {
    const Unit* unit = word.size() < 3 ? nullptr : find_unit(word);  // "h" alone is half a word
    if (unit == nullptr || !reader.at_end()) {
      return Error{ErrorCode::invalid, "'" + std::string(text) +
                                           "' is not an interval; write 90m, 24h, 1d12h, minute, hour, day "
                                           "or week"};
    }
    interval = unit->milliseconds;
  } else {
    const auto duration = parse_duration(text);
    if (!duration) return duration.error();
    interval = *duration;
  }
  if (interval < limits::kShortestInterval || interval > limits::kLongestInterval) {
    return Error{ErrorCode::invalid, "'" + std::string(text) + "' is not from " +
                                         format_interval(limits::kShortestInterval) + " to " +
                                         format_interval(limits::kLongestInterval)};
  }
  return interval;
}

Result<UnixMilliseconds> parse_time(std::string_view text, UnixMilliseconds now) {
  const std::string_view phrase = trim(text);
  Reader reader(phrase);
  const bool plus = reader.skip('+');
  std::string word = plus ? std::string() : reader.word();
  if (word == "now" && reader.at_end()) return now;
  if (plus || (word == "in" && reader.skip_blanks())) {
    std::string length(trim(phrase.substr(plus ? 1 : 2)));
    for (const char* one : {"a ", "an "}) {
      if (!plus && length.starts_with(one)) length.replace(0, std::string_view(one).size(), "1 ");
    }
    const auto later = parse_duration(length);
    if (!later) return later.error();
    if (*later > limits::kLatestTime - now) return bad_time(text);
    return now + *later;
  }
  if (const auto milliseconds = reader.number(); milliseconds && reader.at_end() && word.empty()) {
    // Seconds where milliseconds belong would silently mean January 1970.
    constexpr std::int64_t kLeast = 100'000'000'000;
    if (*milliseconds >= kLeast && *milliseconds <= limits::kLatestTime) return *milliseconds;
    return bad_time(text);
  }
  auto time = read_iso(phrase);
  if (!time) time = read_phrase(phrase, now);
  if (!time && parse_duration(phrase)) {
    const std::string length(phrase);
    return Error{ErrorCode::invalid, "'" + length + "' says how long, not when; write \"in " + length + "\""};
  }
  if (!time || *time < 0 || *time > limits::kLatestTime) return bad_time(text);
  return *time;
}

}  // namespace agenttask::console
