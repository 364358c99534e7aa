#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/explanation.hpp"

namespace agenttask::console {

void add_explain(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb = add_agent_verb(root, console,
                                  {"explain", "Say why a task waits, or why it ended as it did",
                                   "  agenttask explain 4f2a\n"
                                   "  agenttask explain @last"},
                                  [&console, id] {
                                    return ask_and_print(
                                        console, "explainTask", nlohmann::json{{"id", *id}},
                                        [](const nlohmann::json& answer) { return explain(answer, now()); });
                                  });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
