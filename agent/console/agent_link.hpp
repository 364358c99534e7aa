#pragma once
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"
#include "agent/console_api/console_client.hpp"
#include "platform/base/error.hpp"
#include "platform/os/paths.hpp"

/// The way to the agent of this device.
namespace agenttask::console {

/// The folders of the agent that --state-dir or AGENTTASK_STATE_DIR names; the system's otherwise.
[[nodiscard]] os::Folders folders_of(const Console& console);

/// Connects, with the console's patience; the error says how to get an agent, or the right to talk to it.
[[nodiscard]] Result<agent::ConsoleClient> connect(const Console& console);
/// The same without waiting, for what tells how the agent is doing now.
[[nodiscard]] Result<agent::ConsoleClient> connect_at_once(const Console& console);

/// Connects and asks one question.
[[nodiscard]] agent::Answer ask(const Console& console, std::string_view call,
                                const nlohmann::json& arguments);

/// Asks, and prints the answer: as it is with --json, else what `render` makes of it. Returns the exit code.
[[nodiscard]] int ask_and_print(const Console& console, std::string_view call,
                                const nlohmann::json& arguments,
                                const std::function<Result<std::string>(const nlohmann::json&)>& render);

}  // namespace agenttask::console
