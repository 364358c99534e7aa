#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/ending.hpp"

namespace agenttask::console {

void add_cancel(CLI::App& root, Console& console) {
  const auto words = std::make_shared<EndingWords>();
  CLI::App* verb =
      add_agent_verb(root, console,
                     {"cancel", "End a task: it never starts, or its run is stopped",
                      "  agenttask cancel 4f2a\n"
                      "  agenttask cancel @last --no-wait\n"
                      "A running command is asked to stop, and after 5 s its whole tree is killed."},
                     [&console, words] { return end_task(console, "cancelTask", *words); });
  add_ending_options(*verb, *words);
}

}  // namespace agenttask::console
