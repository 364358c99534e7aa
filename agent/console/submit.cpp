#include "agent/console/submit.hpp"

#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/task_view.hpp"
#include "agent/console/text.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

/// What the agent knows already to keep the task from running, such as a misspelt type.
void say_warnings(const Console& console, const json& task) {
  const json* warnings = member_of(task, "warnings");
  if (warnings == nullptr || !warnings->is_array()) return;
  for (const json& warning : *warnings) {
    if (warning.is_string()) console.screen.say(printable(warning.get<std::string>()));
  }
}

}  // namespace

int submit(const Console& console, const json& task) {
  return ask_and_print(console, "createTask", json{{"task", task}},
                       [&](const json& answer) -> Result<std::string> {
                         const auto view = read_task(answer);
                         if (!view) return view.error();
                         // On standard error: a script reads the id alone.
                         say_warnings(console, answer);
                         const std::string understood = announce(view->task, now());
                         if (!understood.empty()) console.screen.say(understood);
                         return view->task.spec.id + "\n";
                       });
}

}  // namespace agenttask::console
