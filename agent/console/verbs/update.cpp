#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/task_view.hpp"
#include "agent/console/task_words.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string id;
  TaskWords task;
};

int update(const Console& console, const Words& words) {
  const auto changes = task_changes(words.task, now());
  if (!changes) return console.fail(changes.error());
  return ask_and_print(console, "updateTask", json{{"id", words.id}, {"changes", *changes}},
                       [](const json& answer) -> Result<std::string> {
                         const auto view = read_task(answer);
                         if (!view) return view.error();
                         return render_task(*view, now());
                       });
}

}  // namespace

void add_update(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"update", "Change a task that has not ended; a run keeps what it started with",
       "  agenttask update 4f2a --at \"tomorrow 09:00\"\n"
       "  agenttask update 4f2a --every 12h --overlap queue\n"
       "  agenttask update 4f2a --every never\n"
       "  agenttask update @last --metadata '{\"ticket\":\"4711\",\"old\":null}' --tag urgent\n"
       "Metadata is merged key by key, null removes a key; tags are replaced. With another --every the grid\n"
       "stays on the first due time, and the next point of it after now is the next run; with never the task "
       "runs once more, at its time or at once, and ends."},
      [&console, words] { return update(console, *words); });
  add_task_id(*verb, words->id);
  add_task_options(*verb, words->task);
}

}  // namespace agenttask::console
