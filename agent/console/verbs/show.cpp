#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/kept_output.hpp"
#include "agent/console/task_list.hpp"
#include "agent/console/task_view.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {

namespace {

int show(const Console& console, const std::string& id) {
  auto client = connect(console);
  if (!client) return console.fail(client.error());
  const agent::Answer answer = client->call("getTask", encode_json(nlohmann::json{{"id", id}}));
  if (!answer.ok()) return console.fail(*answer.problem);
  if (console.json) {
    console.print_json(answer.json);
    return kSuccess;
  }
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  const auto view = value ? read_task(*value) : Result<TaskView>(value.error());
  if (!view) return console.fail(view.error());
  std::string page = render_task(*view, now());
  const bool of_a_worker = view->task.spec.type != "command" && view->task.spec.type != "echo";
  if (of_a_worker && view->task.state.run_count > 0) {
    page += last_output(*client, view->task.spec.id).render(kLocalVerbs);
  }
  if (view->task.spec.schedule.recurs()) {
    const agent::Answer runs =
        client->call("getRuns", encode_json(nlohmann::json{{"id", view->task.spec.id}}));
    // Who may only choose sees no runs; the page is whole without them.
    const auto list = runs.ok() ? parse_json(runs.json, limits::kJsonDepth + 16) : parse_json("{}");
    if (list) page += render_last_runs(*list, console.screen, now());
  }
  console.screen.print(page);
  return kSuccess;
}

}  // namespace

void add_show(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb = add_agent_verb(root, console,
                                  {"show", "Show all that is known of a task, its result included",
                                   "  agenttask show 4f2a\n"
                                   "  agenttask show @last --json"},
                                  [&console, id] { return show(console, *id); });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
