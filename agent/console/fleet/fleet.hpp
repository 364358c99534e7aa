#pragma once
#include <functional>
#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"
#include "agent/console/fleet/server_api.hpp"
#include "agent/console/interrupts.hpp"
#include "agent/console/task_view.hpp"

/// What the operator's verbs share.
namespace agenttask::console {

/// What an action works with.
struct Fleet {
  const Console& console;
  ServerApi& api;
  Interrupts& interrupts;  ///< one Ctrl-C leaves at once, unless the action asks for more patience
};

/// A fleet verb: with --profile.
CLI::App* add_fleet_verb(CLI::App& parent, Console& console, const Verb& verb,
                         std::function<int(const Fleet&)> action);

/// A fleet verb about one task, which ID names (ServerApi::resolve); `action` gets its whole id.
CLI::App* add_fleet_task_verb(CLI::App& parent, Console& console, const Verb& verb,
                              std::function<int(const Fleet&, const std::string& id)> action);

/// Prints an answer: as it is with --json, else what `render` makes of it. Returns the exit code.
[[nodiscard]] int print_answer(const Console& console, const agent::Answer& answer,
                               const std::function<Result<std::string>(const nlohmann::json&)>& render);
/// The page of one task.
[[nodiscard]] int print_task(const Console& console, const agent::Answer& answer);
/// An answer that should hold a task.
[[nodiscard]] Result<TaskView> task_of(const agent::Answer& answer);

/// Asks the server for work, which `path` and `body` say. Waiting for what comes of it, a Ctrl-C from here on
/// has something to cancel, which the follower does; `unsure` tells whoever leaves before the answer where to
/// look.
[[nodiscard]] agent::Answer request_work(const Fleet& fleet, const std::string& path,
                                         const nlohmann::json& body, const std::string& idempotency_key,
                                         bool waits, const char* unsure);

/// Puts the names of nodes in the place of their ids in the list of that name, for people.
void put_node_names(ServerApi& api, nlohmann::json& answer, const char* list);

/// `{"nodes":[…]}` as a table.
[[nodiscard]] Result<std::string> render_nodes(const nlohmann::json& answer, const Screen& screen);

/// Follows the output of a task until it has ended; Ctrl-C leaves it, or cancels it when `cancel` says so.
/// Then prints what is left to say. Returns the exit code, as with agenttask command.
struct FleetFollow {
  std::string id;
  bool output = true;   ///< print it as it comes
  bool cancel = false;  ///< on the first Ctrl-C: this call created the task
};
[[nodiscard]] int follow_fleet(const Fleet& fleet, const FleetFollow& wish);

// The verbs, by what they are about.
void add_fleet_login(CLI::App& fleet, Console& console);
void add_fleet_submit(CLI::App& fleet, Console& console);   ///< add, command, echo
void add_fleet_batches(CLI::App& fleet, Console& console);  ///< batches, batch …
void add_fleet_look(CLI::App& fleet, Console& console);     ///< list, show, explain, output, runs
void add_fleet_change(CLI::App& fleet, Console& console);   ///< cancel, update, delete
void add_fleet_steer(CLI::App& fleet, Console& console);    ///< choose, pause, resume, run, messages, post
void add_fleet_nodes(CLI::App& fleet, Console& console);    ///< nodes, node …
void add_fleet_tokens(CLI::App& fleet, Console& console);   ///< token …, operator …

}  // namespace agenttask::console
