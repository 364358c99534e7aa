#pragma once
#include <string>
#include <string_view>

namespace agenttask {

/// A message with the field at fault before it: "options.timeout: is too long". The message alone where there
/// is no field, or where it names the field itself.
[[nodiscard]] std::string with_field(std::string_view field, std::string_view message);

}  // namespace agenttask
