#pragma once
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// What the system says about one of its error codes (GetLastError), without a full stop.
[[nodiscard]] std::string describe_system_error(unsigned long code);

/// "cannot open C:\x: Access is denied (5)". The error code is `not_found`, `denied`, `limit` (a full disk),
/// `unavailable` (short of memory, handles or processes) or `io`. Private to platform/os/windows.
[[nodiscard]] Error system_error(std::string_view what, unsigned long code);

}  // namespace agenttask::os
