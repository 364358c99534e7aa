#include "platform/settings/values.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

namespace agenttask::settings {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t size;
};
/// The largest first.
constexpr std::array<Unit, 5> kTimes{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Unit, 4> kSizes{
    {{"GiB", 1024 * kMebibyte}, {"MiB", kMebibyte}, {"KiB", kKibibyte}, {"B", 1}}};

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Digits and a unit; `bare` counts where there is no unit, and 0 refuses that. Nothing where it can't be
/// read or is past `most`.
std::optional<std::int64_t> measured(std::string_view text, std::span<const Unit> units, std::int64_t bare,
                                     std::int64_t most) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = whole_number(text.substr(0, digits));
  const auto name = text.substr(digits);
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& one) { return one.name == name; });
  const auto size = name.empty() ? bare : unit == units.end() ? 0 : unit->size;
  if (!number || size == 0 || *number > most / size) return std::nullopt;
  return *number * size;
}

std::string measure_text(std::int64_t value, std::span<const Unit> units) {
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& one) { return value % one.size == 0; });
  return std::to_string(value / unit->size) + std::string(unit->name);
}

}  // namespace

Error expected(std::string_view what) {
  return Error{ErrorCode::invalid, "expected " + std::string(what)};
}

Result<std::int64_t> parse_number(std::string_view text, std::int64_t least, std::int64_t most) {
  const auto value = whole_number(text);
  if (!value || *value < least || *value > most)
    return expected("a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return *value;
}

Result<DurationMilliseconds> parse_duration(std::string_view text, DurationMilliseconds least,
                                            DurationMilliseconds most, bool or_zero) {
  const bool zero = or_zero || least == 0;
  const auto value = text == "0" ? std::optional<std::int64_t>(0) : measured(text, kTimes, 0, most);
  if (value && (*value >= least || (*value == 0 && zero))) return *value;
  return expected((or_zero ? "0, or a duration from " : "a duration from ") + duration_text(least) + " to " +
                  duration_text(most) + ", as 500ms, 90s, 30m, 24h or 7d");
}

std::string duration_text(DurationMilliseconds duration) {
  return duration == 0 ? "0s" : measure_text(duration, kTimes);
}

Result<std::int64_t> parse_size(std::string_view text, std::int64_t least, std::int64_t most,
                                std::int64_t unit) {
  const auto value = measured(text, kSizes, unit, most);
  if (value && *value >= least) return *value;
  return expected("a size from " + size_text(least) + " to " + size_text(most) + ", as 64KiB or 4MiB");
}

std::string size_text(std::int64_t bytes) {
  return bytes == 0 ? "0B" : measure_text(bytes, kSizes);
}

Result<bool> parse_boolean(std::string_view text) {
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  return expected("true or false");
}

Result<std::vector<std::string>> parse_list(std::string_view text) {
  std::vector<std::string> items;
  while (true) {
    const auto comma = text.find(',');
    const auto item = trimmed(text.substr(0, comma));
    if (item.empty() || item.find_first_of(" \t\"'/") != std::string_view::npos)
      return expected("names separated by commas");
    items.emplace_back(item);
    if (comma == std::string_view::npos) return items;
    text.remove_prefix(comma + 1);
  }
}

std::string list_text(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

Result<std::string> parse_text(std::string_view text, std::size_t most) {
  if (text.size() > most) return expected("at most " + std::to_string(most) + " bytes");
  return std::string(text);
}

std::string log_level_text(LogLevel level) {
  constexpr std::array<const char*, 4> names{"debug", "info", "warning", "error"};
  return names.at(static_cast<std::size_t>(level));
}

std::string log_format_text(LogFormat format) {
  return format == LogFormat::json ? "json" : "text";
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r";
  const auto begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

}  // namespace agenttask::settings
