#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/schedule_text.hpp"
#include "agent/console/screen.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// How a list looks.
struct ListLook {
  bool show_node = false;  ///< with the column of the device
  bool questions = false;  ///< what there is to choose, in place of the table
  std::string_view verbs = kLocalVerbs;
};

/// `{"tasks":[…],"nextCursor":…}` as a table, and how to see more.
[[nodiscard]] Result<std::string> render_task_list(const nlohmann::json& answer, const Screen& screen,
                                                   const ListLook& look, UnixMilliseconds now);
/// `{"runs":[…]}`, in whatever order, as a table with the newest last: next to the prompt.
[[nodiscard]] Result<std::string> render_run_list(const nlohmann::json& answer, const Screen& screen,
                                                  UnixMilliseconds now);

/// The last few of `{"runs":[…]}`, for the page of a task that runs again and again; empty where there are
/// none.
[[nodiscard]] std::string render_last_runs(const nlohmann::json& answer, const Screen& screen,
                                           UnixMilliseconds now);

}  // namespace agenttask::console
