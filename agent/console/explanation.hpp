#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// `{"task","reason","detail"}` in sentences: what the task does now, why, and what would change it.
[[nodiscard]] Result<std::string> explain(const nlohmann::json& answer, UnixMilliseconds now);

}  // namespace agenttask::console
