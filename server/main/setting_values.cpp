#include "server/main/setting_values.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace agenttask::server {
namespace {

struct Unit {
  std::string_view name;
  DurationMilliseconds milliseconds;
};
constexpr std::array<Unit, 5> kUnits{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

Error expected(std::string what) {
  return Error{ErrorCode::invalid, "expected " + std::move(what)};
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string duration_text(DurationMilliseconds duration) {
  if (duration == 0) return "0s";
  const auto unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& candidate) {
    return duration % candidate.milliseconds == 0;
  });
  return std::to_string(duration / unit->milliseconds) + std::string(unit->name);
}

Result<DurationMilliseconds> parse_duration(std::string_view text, DurationMilliseconds least,
                                            DurationMilliseconds most) {
  const auto wrong = expected("a duration from " + duration_text(least) + " to " + duration_text(most) +
                              ", as 500ms, 90s, 30m, 24h or 7d");
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& candidate) {
    return candidate.name == text.substr(digits);
  });
  const auto number = whole_number(text.substr(0, digits));
  if (unit == kUnits.end() || !number || *number > most / unit->milliseconds) return wrong;
  const auto duration = *number * unit->milliseconds;
  if (duration < least || duration > most) return wrong;
  return duration;
}

Result<std::int64_t> parse_number(std::string_view text, std::int64_t least, std::int64_t most) {
  const auto value = whole_number(text);
  if (!value || *value < least || *value > most) {
    return expected("a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return *value;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r";
  const auto begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

Result<std::vector<std::string>> parse_list(std::string_view text) {
  std::vector<std::string> items;
  while (true) {
    const auto comma = text.find(',');
    const auto item = trimmed(text.substr(0, comma));
    if (item.empty() || item.find_first_of(" \t\"'/") != std::string_view::npos) {
      return expected("names separated by commas");
    }
    items.emplace_back(item);
    if (comma == std::string_view::npos) return items;
    text.remove_prefix(comma + 1);
  }
}

Result<std::pair<std::string, int>> parse_listen(std::string_view text) {
  const auto wrong = expected("an IP address, with or without a port: 0.0.0.0, 127.0.0.1:8443, [::1]:8443");
  std::string_view address = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return wrong;
    address = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos && text.rfind(':') == colon) {
    address = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (address.empty()) return wrong;
  if (port.empty()) return std::pair(std::string(address), -1);
  if (port.front() != ':') return wrong;
  const auto number = parse_number(port.substr(1), 0, 65'535);
  if (!number) return wrong;
  return std::pair(std::string(address), static_cast<int>(*number));
}

}  // namespace agenttask::server
