#include "agent/console/task_list.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/task_view.hpp"
#include "agent/console/text.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

const json* array_of(const json& answer, const char* name) {
  if (!answer.is_object()) return nullptr;
  const auto found = answer.find(name);
  return found != answer.end() && found->is_array() ? &*found : nullptr;
}

}  // namespace

Result<std::string> render_task_list(const json& answer, const Screen& screen, const ListLook& look,
                                     UnixMilliseconds now) {
  const json* list = array_of(answer, "tasks");
  if (list == nullptr) return Error{ErrorCode::invalid, "the answer holds no list of tasks"};
  // Who may only choose is shown the questions, and nothing else there is.
  const bool questions = look.questions || flag_of(answer, "onlyChoices");
  if (list->empty()) return std::string(questions ? "no task waits for a choice\n" : "no tasks\n");
  std::vector<TaskView> tasks;
  for (const json& value : *list) {
    auto view = read_task(value);
    if (!view) return view.error();
    tasks.push_back(std::move(*view));
  }
  std::string text =
      questions ? render_questions(tasks, now, look.verbs) : render_tasks(tasks, screen, look.show_node, now);
  if (!screen.output_is_terminal()) return text;  // a pipe gets the list and nothing else
  const auto waiting = std::count_if(tasks.begin(), tasks.end(), [](const TaskView& view) {
    return view.task.state.status == TaskStatus::awaiting_choice;
  });
  if (!questions && waiting != 0) {
    text += std::to_string(waiting) + (waiting == 1 ? " waits" : " wait") +
            " for a choice: " + std::string(look.verbs) + " list --awaiting\n";
  }
  if (const auto cursor = answer.find("nextCursor"); cursor != answer.end() && cursor->is_string()) {
    text += "more with: --cursor " + printable(cursor->get<std::string>()) + "\n";
  }
  return text;
}

namespace {

/// Oldest first, whatever order they came in.
Result<std::vector<RunView>> read_runs(const json& answer) {
  const json* list = array_of(answer, "runs");
  if (list == nullptr) return Error{ErrorCode::invalid, "the answer holds no list of runs"};
  std::vector<RunView> runs;
  for (const json& value : *list) {
    auto view = read_run(value);
    if (!view) return view.error();
    runs.push_back(std::move(*view));
  }
  std::sort(runs.begin(), runs.end(),
            [](const RunView& one, const RunView& other) { return one.run.number < other.run.number; });
  return runs;
}

}  // namespace

Result<std::string> render_run_list(const json& answer, const Screen& screen, UnixMilliseconds now) {
  const auto runs = read_runs(answer);
  if (!runs) return runs.error();
  return runs->empty() ? std::string("no runs yet\n") : render_runs(*runs, screen, now);
}

std::string render_last_runs(const json& answer, const Screen& screen, UnixMilliseconds now) {
  constexpr std::size_t kShown = 5;
  auto runs = read_runs(answer);
  if (!runs || runs->empty()) return {};
  const std::size_t count = runs->size();
  if (count > kShown) runs->erase(runs->begin(), runs->end() - kShown);
  const std::string title = count > kShown ? "Last runs" : "Runs";
  return "\n" + title + ":\n" + render_runs(*runs, screen, now);
}

}  // namespace agenttask::console
