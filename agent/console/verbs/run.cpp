#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/local_follow.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

int run_now(const Console& console, const std::string& id, bool wait) {
  if (!wait) {
    return ask_and_print(console, "runTask", json{{"id", id}}, [](const json& answer) -> Result<std::string> {
      const auto view = read_task(answer);
      if (!view) return view.error();
      return "task " + view->task.spec.id +
             (view->task.state.status == TaskStatus::awaiting_choice ? " asks first: " : " runs now") +
             (view->task.state.status == TaskStatus::awaiting_choice
                  ? "agenttask choose " + view->task.spec.id + " " + choice_names(view->task.spec)
                  : "") +
             "\n";
    });
  }
  Interrupts interrupts;
  const FollowEnd end = follow_local(console, interrupts, {"runTask", OnInterruptKey::detach},
                                     json{{"id", id}, {"follow", true}});
  if (console.json && !end.json.empty()) console.print_json(end.json);
  return finish_follow(console, end);
}

}  // namespace

void add_run(CLI::App& root, Console& console) {
  struct Words {
    std::string id;
    bool wait = false;
  };
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"run", "Run a task once now, besides its schedule",
       "  agenttask run 4f2a\n"
       "  agenttask run @last --wait\n"
       "The schedule stays as it is, and a paused task stays paused. One that only waited for its time runs\n"
       "now, and that was it. With --wait the exit code is that of the run, as with agenttask command; "
       "Ctrl-C\n"
       "leaves it running."},
      [&console, words] { return run_now(console, words->id, words->wait); });
  add_task_id(*verb, words->id);
  verb->add_flag("--wait", words->wait, "Print its output as it comes, and exit as it did");
}

}  // namespace agenttask::console
