#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

std::string names(const json& worker, const char* member) {
  std::string text;
  const auto list = worker.find(member);
  if (list == worker.end() || !list->is_array()) return text;
  for (const json& name : *list) {
    if (name.is_string()) text += (text.empty() ? "" : ", ") + name.get<std::string>();
  }
  return text;
}

Result<std::string> render(const json& answer, const Screen& screen) {
  const auto list = answer.find("workers");
  if (list == answer.end() || !list->is_array()) {
    return Error{ErrorCode::internal, "the agent's answer names no workers"};
  }
  Table table({{"WORKER"}, {"TYPES", true}, {"SERVICES", true}, {"STATE", true}});
  for (const json& worker : *list) {
    const std::string problem = text_of(worker, "problem");
    const bool built_in = flag_of(worker, "builtIn");
    table.add({text_of(worker, "name"), names(worker, "types"), names(worker, "services"),
               problem.empty() ? Cell(built_in ? "built in" : "ready", Color::good)
                               : Cell("refused: " + problem, Color::bad)});
  }
  return table.render(screen) + "Folder: " + text_of(answer, "folder") + "\n";
}

}  // namespace

void add_workers(CLI::App& root, Console& console) {
  add_agent_verb(root, console,
                 {"workers", "List the workers of this device, and why one is refused",
                  "  agenttask workers\n"
                  "  agenttask workers --json | jq '.workers[] | select(.problem)'"},
                 [&console] {
                   return ask_and_print(console, "getWorkers", json::object(),
                                        [&](const json& answer) { return render(answer, console.screen); });
                 });
}

}  // namespace agenttask::console
