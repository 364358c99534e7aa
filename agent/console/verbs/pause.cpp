#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/choosing.hpp"
#include "agent/console/console.hpp"

namespace agenttask::console {

void add_pause(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"pause", "Start no more runs of a task until it is resumed; a run goes on",
       "  agenttask pause 4f2a\n"
       "What is due meanwhile does not count. A question of a recurring task is withdrawn, and that\n"
       "occurrence counts as missed; agenttask run still makes an extra run."},
      [&console, id] {
        return finish_pause(console, ask(console, "pauseTask", nlohmann::json{{"id", *id}}), true);
      });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
