#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"

/// How values of settings are written, in files, variables and flags alike. Errors are `invalid` and say what
/// is accepted.
namespace agenttask::settings {

/// The one wording of a value that can't be used: "expected WHAT".
[[nodiscard]] Error expected(std::string_view what);

/// A whole number from `least` to `most`, in decimal digits.
[[nodiscard]] Result<std::int64_t> parse_number(std::string_view text, std::int64_t least, std::int64_t most);

/// `500ms`, `90s`, `30m`, `24h`, `7d`: a whole number and its unit, from `least` to `most`. With `or_zero`,
/// or a `least` of 0, also 0, with or without a unit.
[[nodiscard]] Result<DurationMilliseconds> parse_duration(std::string_view text, DurationMilliseconds least,
                                                          DurationMilliseconds most, bool or_zero = false);
/// In the largest unit that is exact: `90s`, `1d`, `0s`.
[[nodiscard]] std::string duration_text(DurationMilliseconds duration);

constexpr std::int64_t kKibibyte = 1024;
constexpr std::int64_t kMebibyte = 1024 * kKibibyte;

/// Bytes from `least` to `most`: `100B`, `64KiB`, `4MiB`, `2GiB`. A number without a unit counts in `unit`.
[[nodiscard]] Result<std::int64_t> parse_size(std::string_view text, std::int64_t least, std::int64_t most,
                                              std::int64_t unit = 1);
/// In the largest unit that is exact: `64KiB`.
[[nodiscard]] std::string size_text(std::int64_t bytes);

/// `true`, `yes`, `on`, or `false`, `no`, `off`.
[[nodiscard]] Result<bool> parse_boolean(std::string_view text);

/// `a, b, c`: names and addresses; empty ones are errors.
[[nodiscard]] Result<std::vector<std::string>> parse_list(std::string_view text);
[[nodiscard]] std::string list_text(const std::vector<std::string>& items);

/// Any text of at most `most` bytes.
[[nodiscard]] Result<std::string> parse_text(std::string_view text, std::size_t most);

/// As parse_log_level and parse_log_format read them.
[[nodiscard]] std::string log_level_text(LogLevel level);
[[nodiscard]] std::string log_format_text(LogFormat format);

/// Without white space at both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text);

/// Puts a value that was read into what holds it; an error is handed on.
template <class T, class Target>
[[nodiscard]] Result<void> assign(Result<T> value, Target& target) {
  if (!value) return value.error();
  target = static_cast<Target>(*std::move(value));
  return {};
}

}  // namespace agenttask::settings
