#pragma once
#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/screen.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// `{"tasks":[…],"nextCursor":…}` as a table, and how to see more.
[[nodiscard]] Result<std::string> render_task_list(const nlohmann::json& answer, const Screen& screen,
                                                   bool show_node, UnixMilliseconds now);
/// `{"runs":[…]}`, in whatever order, as a table with the newest last: next to the prompt.
[[nodiscard]] Result<std::string> render_run_list(const nlohmann::json& answer, const Screen& screen,
                                                  UnixMilliseconds now);

}  // namespace agenttask::console
