#pragma once
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/schedule_text.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// `{"task","reason","detail"}` in sentences: what the task does now, why, and what would change it. Without
/// `reason` it is as the task says, as a server tells it; `verbs` says who reads it.
[[nodiscard]] Result<std::string> explain(const nlohmann::json& answer, UnixMilliseconds now,
                                          std::string_view verbs = kLocalVerbs);

}  // namespace agenttask::console
