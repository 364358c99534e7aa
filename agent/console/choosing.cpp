#include "agent/console/choosing.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/task_view.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

Result<TaskView> read_answer(const agent::Answer& answer) {
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value) return with_context(value.error(), "cannot read the answer");
  return read_task(*value);
}

bool asked_for(const TaskView& view, const char* what) {
  return std::find(view.requested.begin(), view.requested.end(), what) != view.requested.end();
}

/// Whether the problem names who was first.
bool is_too_late(const Problem& problem) {
  if (problem.code == "already-chosen") return true;
  const auto extra = parse_json(problem.extra.empty() ? "{}" : problem.extra);
  return problem.status == 409 && extra && member_of(*extra, "chosen") != nullptr;
}

std::string choice_sentence(const Task& task, const std::string& option) {
  const std::string what = "task " + task.spec.id + ": " + printable(option);
  if (!task.state.chosen) return what + " was asked for; the device has still to say whether it counts";
  if (task.state.paused) return what + " was chosen; the task is paused";
  return what + " was chosen";
}

std::string pause_sentence(const TaskView& view, bool pauses) {
  const TaskState& state = view.task.state;
  const std::string what = "task " + view.task.spec.id;
  if (asked_for(view, pauses ? "pause" : "resume")) {
    return what + " was asked to " + (pauses ? "pause" : "go on") + "; its device has not answered yet";
  }
  if (pauses) {
    return what + " is paused" +
           (state.status == TaskStatus::running ? "; the run that goes on is the last until it is resumed"
                                                : "");
  }
  if (state.status == TaskStatus::sent && state.next_run_at) {
    return what + " goes on; next run " + format_time(*state.next_run_at, now());
  }
  return what + " goes on";
}

}  // namespace

int finish_choice(const Console& console, const agent::Answer& answer, const std::string& option) {
  if (!answer.ok()) {
    const int code = console.fail(*answer.problem);
    return is_too_late(*answer.problem) ? kSomebodyElseChose : code;
  }
  const auto view = read_answer(answer);
  if (!view) return console.fail(view.error());
  const auto& chosen = view->task.state.chosen;
  // An operator's answer can come to the device after another.
  const bool lost = chosen && chosen->option != option;
  if (console.json) console.print_json(answer.json);
  if (lost) {
    if (!console.json) console.screen.say(chosen->by + " chose " + chosen->option + " before");
    return kSomebodyElseChose;
  }
  if (console.json) return kSuccess;
  console.screen.print(choice_sentence(view->task, option) + "\n");
  return kSuccess;
}

int finish_lost_choice(const Console& console, Problem problem, const ChoiceMade& chosen) {
  problem.code = "already-chosen";
  problem.detail = chosen.by + " chose " + chosen.option + " already";
  problem.extra = encode_json(json{{"chosen", choice_made_to_json(chosen)}});
  (void)console.fail(problem);
  return kSomebodyElseChose;
}

int finish_pause(const Console& console, const agent::Answer& answer, bool pauses) {
  if (!answer.ok()) return console.fail(*answer.problem);
  if (console.json) {
    console.print_json(answer.json);
    return kSuccess;
  }
  const auto view = read_answer(answer);
  if (!view) return console.fail(view.error());
  console.screen.print(pause_sentence(*view, pauses) + "\n");
  return kSuccess;
}

}  // namespace agenttask::console
