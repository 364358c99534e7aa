#pragma once

#include <string>

#include "agent/console/console.hpp"
#include "agent/console_api/console_client.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::console {

constexpr int kSomebodyElseChose = 1;  ///< exit code of choose: another answer counts

/// Prints what came of an answer to a task's question. `option` is what was answered. Returns the exit code.
[[nodiscard]] int finish_choice(const Console& console, const agent::Answer& answer,
                                const std::string& option);

/// Says who decided the task before. `problem`: the refusal of our answer. Returns the exit code.
[[nodiscard]] int finish_lost_choice(const Console& console, Problem problem, const ChoiceMade& chosen);

/// Prints what came of a pause or resume. Returns the exit code.
[[nodiscard]] int finish_pause(const Console& console, const agent::Answer& answer, bool pauses);

}  // namespace agenttask::console
