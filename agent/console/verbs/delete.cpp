#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/ending.hpp"

namespace agenttask::console {

void add_delete(CLI::App& root, Console& console) {
  const auto words = std::make_shared<EndingWords>();
  CLI::App* verb =
      add_agent_verb(root, console,
                     {"delete", "Cancel a task and mark it deleted; it can be read until retention",
                      "  agenttask delete 4f2a"},
                     [&console, words] { return end_task(console, "deleteTask", *words); });
  add_ending_options(*verb, *words);
}

}  // namespace agenttask::console
