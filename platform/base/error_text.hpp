#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace agenttask {

/// A message with the field at fault before it: "options.timeout: is too long". The message alone where there
/// is no field, or where it names the field itself.
[[nodiscard]] std::string with_field(std::string_view field, std::string_view message);

/// The beginning of `text`, as a message quotes what somebody sent: at most `most` bytes, and not cut inside
/// a character of UTF-8.
[[nodiscard]] std::string excerpt(std::string_view text, std::size_t most);

}  // namespace agenttask
