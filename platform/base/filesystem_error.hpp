#pragma once
#include <string_view>
#include <system_error>

#include "platform/base/error.hpp"

namespace agenttask {

/// An `io` error for what a call of std::filesystem said, in the words of whoever said it: the number alone
/// is errno on some systems, and a number of the system's own on others.
[[nodiscard]] Error filesystem_error(std::string_view what, const std::error_code& code);

}  // namespace agenttask
