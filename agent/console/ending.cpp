#include "agent/console/ending.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/local_follow.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

/// One sentence on how the task stands.
std::string verdict(const Task& task) {
  const std::string what = "task " + task.spec.id;
  if (has_ended(task.state.status)) {
    return what + " is " + std::string(to_string(task.state.status)) +
           (task.state.deleted_at ? " and deleted" : "");
  }
  return what + " was asked to stop";
}

}  // namespace

void add_ending_options(CLI::App& verb, EndingWords& words) {
  add_task_id(verb, words.id);
  verb.add_flag("--no-wait", words.no_wait, "Ask a running task to stop, and don't wait until it has");
}

int end_task(const Console& console, const std::string& call, const EndingWords& words) {
  const agent::Answer answer = ask(console, call, json{{"id", words.id}});
  if (!answer.ok()) return console.fail(*answer.problem);
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  const auto view = value ? read_task(*value) : Result<TaskView>(value.error());
  if (!view) return console.fail(view.error());
  std::string text = answer.json;
  Task task = view->task;
  if (!has_ended(task.state.status) && !words.no_wait) {
    if (!console.json) console.screen.say(verdict(task) + "; waiting for its end");
    Interrupts interrupts;
    const FollowEnd end =
        follow_local(console, interrupts, {"watch", OnInterruptKey::detach, false, false, false},
                     json{{"id", task.spec.id}, {"output", false}});
    if (!end.view) return finish_follow(console, end);
    task = end.view->task;
    text = end.json;
  }
  if (console.json) {
    console.print_json(text);
  } else {
    console.screen.print(verdict(task) + "\n");
  }
  return kSuccess;
}

}  // namespace agenttask::console
