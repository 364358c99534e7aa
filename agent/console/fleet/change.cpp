#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/task_words.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

struct Words {
  bool no_wait = false;
  TaskWords task;
};

/// One sentence on how the task stands after a cancel or delete.
std::string verdict(const Task& task) {
  const std::string what = "task " + task.spec.id;
  if (has_ended(task.state.status)) {
    return what + " is " + std::string(to_string(task.state.status)) +
           (task.state.deleted_at ? " and deleted" : "");
  }
  return what + " was asked to stop; its device has not answered yet";
}

int print_verdict(const Fleet& fleet, const agent::Answer& answer) {
  if (!answer.ok()) return fleet.console.fail(*answer.problem);
  return print_answer(fleet.console, answer, [](const nlohmann::json& value) -> Result<std::string> {
    const auto view = read_task(value);
    if (!view) return view.error();
    return verdict(view->task) + "\n";
  });
}

int cancel(const Fleet& fleet, const Words& words, const std::string& id) {
  // The device may need its grace of 5 s to stop a run; an offline one answers when it comes.
  return print_verdict(fleet, fleet.api.call("POST", api_path({"tasks", id, "cancel"}),
                                             {{"wait", words.no_wait ? "0" : "10000"}}));
}

int remove(const Fleet& fleet, const std::string& id) {
  return print_verdict(fleet, fleet.api.call("DELETE", api_path({"tasks", id})));
}

int update(const Fleet& fleet, const Words& words, const std::string& id) {
  const auto changes = task_changes(words.task, now());
  if (!changes) return fleet.console.fail(changes.error());
  return print_task(fleet.console,
                    fleet.api.call("PATCH", api_path({"tasks", id}), {}, encode_json(*changes)));
}

}  // namespace

void add_fleet_change(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_fleet_task_verb(
      fleet, console,
      {"cancel", "End a task: it never starts, or its run is stopped", "  agenttask fleet cancel 4f2a"},
      [words](const Fleet& at, const std::string& id) { return cancel(at, *words, id); });
  verb->add_flag("--no-wait", words->no_wait, "Don't wait up to 10 s for the device's answer");

  verb =
      add_fleet_task_verb(fleet, console,
                          {"update", "Change a task that has not ended; a run keeps what it started with",
                           "  agenttask fleet update 4f2a --every 12h\n"
                           "  agenttask fleet update 4f2a --at +2h --metadata '{\"ticket\":\"4711\"}'\n"
                           "Metadata is merged key by key, null removes a key; tags are replaced."},
                          [words](const Fleet& at, const std::string& id) { return update(at, *words, id); });
  add_task_options(*verb, words->task);

  add_fleet_task_verb(fleet, console,
                      {"delete", "Cancel a task and mark it deleted; it can be read until retention",
                       "  agenttask fleet delete 4f2a"},
                      remove);
}

}  // namespace agenttask::console
