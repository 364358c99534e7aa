#include "agent/console/submit.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/task_view.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

bool has_type(const json& worker, const std::string& type) {
  const json* types = member_of(worker, "types");
  return types != nullptr && types->is_array() &&
         std::find(types->begin(), types->end(), type) != types->end();
}

/// Says so where nothing on this device runs such tasks: a misspelt type would wait for ever.
void warn_of_unknown_type(const Console& console, const std::string& type) {
  const agent::Answer answer = ask(console, "getWorkers", json::object());
  const auto value = answer.ok() ? parse_json(answer.json, limits::kJsonDepth + 16) : parse_json("{}");
  const json* workers = value ? member_of(*value, "workers") : nullptr;
  if (workers == nullptr || !workers->is_array()) return;
  std::string refused;
  for (const json& worker : *workers) {
    if (!has_type(worker, type)) continue;
    const std::string problem = text_of(worker, "problem");
    if (problem.empty()) return;
    refused = "; the worker " + text_of(worker, "name") + ", which would, is refused: " + problem;
  }
  console.screen.say("no worker of this device runs " + type + ": the task is kept and waits for one" +
                     (refused.empty() ? "; agenttask workers lists them" : refused));
}

}  // namespace

int submit(const Console& console, const nlohmann::json& task) {
  return ask_and_print(console, "createTask", nlohmann::json{{"task", task}},
                       [&](const nlohmann::json& answer) -> Result<std::string> {
                         const auto view = read_task(answer);
                         if (!view) return view.error();
                         // On standard error: a script reads the id alone.
                         warn_of_unknown_type(console, view->task.spec.type);
                         const std::string understood = announce(view->task, now());
                         if (!understood.empty()) console.screen.say(understood);
                         return view->task.spec.id + "\n";
                       });
}

}  // namespace agenttask::console
