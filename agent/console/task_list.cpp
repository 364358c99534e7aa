#include "agent/console/task_list.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

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

Result<std::string> render_task_list(const json& answer, const Screen& screen, bool show_node,
                                     UnixMilliseconds now) {
  const json* list = array_of(answer, "tasks");
  if (list == nullptr) return Error{ErrorCode::invalid, "the answer holds no list of tasks"};
  if (list->empty()) return std::string("no tasks\n");
  std::vector<TaskView> tasks;
  for (const json& value : *list) {
    auto view = read_task(value);
    if (!view) return view.error();
    tasks.push_back(std::move(*view));
  }
  std::string text = render_tasks(tasks, screen, show_node, now);
  if (const auto cursor = answer.find("nextCursor"); cursor != answer.end() && !cursor->is_null()) {
    // Only for eyes: a pipe gets the table and nothing else.
    if (cursor->is_string() && screen.output_is_terminal())
      text += "more with: --cursor " + printable(cursor->get<std::string>()) + "\n";
  }
  return text;
}

Result<std::string> render_run_list(const json& answer, const Screen& screen, UnixMilliseconds now) {
  const json* list = array_of(answer, "runs");
  if (list == nullptr) return Error{ErrorCode::invalid, "the answer holds no list of runs"};
  if (list->empty()) return std::string("no runs yet\n");
  std::vector<RunView> runs;
  for (const json& value : *list) {
    auto view = read_run(value);
    if (!view) return view.error();
    runs.push_back(std::move(*view));
  }
  std::sort(runs.begin(), runs.end(),
            [](const RunView& one, const RunView& other) { return one.run.number < other.run.number; });
  return render_runs(runs, screen, now);
}

}  // namespace agenttask::console
