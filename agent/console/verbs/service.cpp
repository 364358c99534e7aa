#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/local_follow.hpp"
#include "agent/console/offered_services.hpp"
#include "agent/console/service_words.hpp"
#include "agent/console/submit.hpp"
#include "agent/console/task_words.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  ServiceWords call;
  TaskWords task;
  bool detach = false;
};

int service(const Console& console, const Words& words) {
  auto data = service_data(words.call);
  if (!data) return console.fail(data.error());
  const auto body = task_request("service", std::move(*data), words.task, now());
  if (!body) return console.fail(body.error());
  if (words.detach || outlasts_its_console(words.task)) return submit(console, *body);
  // Somebody waits for the answer here: a name that nobody offers would keep them for ever.
  const agent::Answer workers = ask(console, "getWorkers", json::object());
  if (!workers.ok()) return console.fail(*workers.problem);
  const auto list = parse_json(workers.json, limits::kJsonDepth + 16);
  if (!list) return console.fail(with_context(list.error(), "cannot read the agent's answer"));
  if (const auto error = why_not_offered(*list, words.call.service)) return console.fail(*error);
  Interrupts interrupts;
  const FollowEnd end = follow_local(console, interrupts, {"createTask", OnInterruptKey::cancel, false},
                                     json{{"task", *body}, {"follow", true}, {"output", false}});
  if (end.view && end.view->task.state.status == TaskStatus::complete && !console.json) {
    console.screen.print(service_answer(end.view->result.data) + "\n");
  }
  if (console.json && end.view) console.print_json(end.json);
  return finish_follow(console, end);
}

}  // namespace

void add_service(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"service", "Call a service that a worker of this device offers; prints its answer",
       "  agenttask service solana getBalance --data '{\"account\":\"petty-cash\"}'\n"
       "  agenttask service solana getBalance --data @account.json --timeout 5m --json\n"
       "  agenttask service --every 1h solana refresh\n"
       "  agenttask workers               # which services there are\n"
       "A text is printed as it is, every other answer as JSON. What else the service writes is kept:\n"
       "agenttask output @last prints it.\n"
       "Ctrl-C cancels the call; pressed again it leaves at once and prints the id of its task.\n"
       "Exit codes: 0 it answered; 124 timed out; 125 it failed, or nobody offers it; 130 cancelled."},
      [&console, words] { return service(console, *words); });
  add_service_words(*verb, words->call);
  verb->add_flag("--detach", words->detach,
                 "Print the task's id and don't wait, also for a service that nobody offers yet (so do "
                 "--every and --choice)");
  add_task_options(*verb, words->task);
  add_place_options(*verb, words->task);
  add_choice_options(*verb, words->task);
}

}  // namespace agenttask::console
