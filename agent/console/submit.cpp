#include "agent/console/submit.hpp"

#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/task_view.hpp"

namespace agenttask::console {

int submit(const Console& console, const nlohmann::json& task) {
  return ask_and_print(console, "createTask", nlohmann::json{{"task", task}},
                       [&](const nlohmann::json& answer) -> Result<std::string> {
                         const auto view = read_task(answer);
                         if (!view) return view.error();
                         // On standard error: a script reads the id alone.
                         const std::string understood = announce(view->task, now());
                         if (!understood.empty()) console.screen.say(understood);
                         return view->task.spec.id + "\n";
                       });
}

}  // namespace agenttask::console
