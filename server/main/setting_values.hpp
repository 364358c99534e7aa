#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

/// How values of settings are written. Errors say what is accepted.
namespace agenttask::server {

/// `90s`, `30m`, `24h`, `7d`, `500ms`: a whole number and a unit. From `least` to `most`.
[[nodiscard]] Result<DurationMilliseconds> parse_duration(std::string_view text, DurationMilliseconds least,
                                                          DurationMilliseconds most);
[[nodiscard]] std::string duration_text(DurationMilliseconds duration);

[[nodiscard]] Result<std::int64_t> parse_number(std::string_view text, std::int64_t least, std::int64_t most);

/// `a, b, c`; empty items are errors.
[[nodiscard]] Result<std::vector<std::string>> parse_list(std::string_view text);

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; port -1 where there is none. The address is not checked here.
[[nodiscard]] Result<std::pair<std::string, int>> parse_listen(std::string_view text);

[[nodiscard]] std::string_view trimmed(std::string_view text);

}  // namespace agenttask::server
