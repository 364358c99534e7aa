#pragma once
#include <optional>
#include <string>

namespace agenttask::os {

/// What this variable of our own environment says, in UTF-8; nothing when it is not set. Threads: any while
/// nobody changes the environment.
[[nodiscard]] std::optional<std::string> read_variable(const std::string& name);

}  // namespace agenttask::os
