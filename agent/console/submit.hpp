#pragma once
#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"

namespace agenttask::console {

/// Creates a task on this device and prints its id (with --json the task). Returns the exit code.
[[nodiscard]] int submit(const Console& console, const nlohmann::json& task);

}  // namespace agenttask::console
