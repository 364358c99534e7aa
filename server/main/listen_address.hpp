#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "platform/base/error.hpp"

namespace agenttask::server {

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; port -1 where there is none. The address is not checked here.
[[nodiscard]] Result<std::pair<std::string, int>> parse_listen(std::string_view text);

}  // namespace agenttask::server
