#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/choosing.hpp"
#include "agent/console/console.hpp"

namespace agenttask::console {

void add_resume(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"resume", "Let a paused task go on, at the next point of its grid",
       "  agenttask resume 4f2a\n"
       "Nothing is made up for: a recurring task runs when it is due next, another at its time, or\n"
       "at once where that has come."},
      [&console, id] {
        return finish_pause(console, ask(console, "resumeTask", nlohmann::json{{"id", *id}}), false);
      });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
