#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/local_follow.hpp"
#include "agent/console/submit.hpp"
#include "agent/console/task_words.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  CommandWords command;
  TaskWords task;
  bool detach = false;
};

int command(const Console& console, const Words& words) {
  auto data = command_data(words.command, console.rest, true);
  if (!data) return console.fail(data.error());
  const auto body = task_request("command", std::move(*data), words.task, now());
  if (!body) return console.fail(body.error());
  if (words.detach || outlasts_its_console(words.task)) return submit(console, *body);
  Interrupts interrupts;
  const FollowEnd end = follow_local(console, interrupts, {"createTask", OnInterruptKey::cancel},
                                     json{{"task", *body}, {"follow", true}});
  if (console.json && end.view) console.print_json(end.json);
  return finish_follow(console, end);
}

}  // namespace

void add_command(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"command", "Run a command on this device: its output as it comes, its exit code as ours",
       "  agenttask command \"dir\"\n"
       "  agenttask command -- ls -l \"a b\"\n"
       "  agenttask command --timeout 5m --env LANG=C \"make all\"\n"
       "  echo data | agenttask command --stdin - \"sort\"\n"
       "  agenttask command --detach --at 03:00 \"backup\"\n"
       "  agenttask command --every 1h \"backup\"\n"
       "Ctrl-C cancels the command; pressed again it leaves at once and prints the id of the task.\n"
       "Exit codes: the command's; 124 timed out; 128+n ended by signal n; 130 cancelled; 125 AgentTask "
       "failed.",
       true},
      [&console, words] { return command(console, *words); });
  verb->add_option("LINE", words->command.line, "A shell line; or put a program and its arguments after --")
      ->type_name("");
  verb->add_flag("--detach", words->detach,
                 "Print the task's id and leave it running (so do --every and --choice)");
  add_command_options(*verb, words->command);
  add_task_options(*verb, words->task);
  add_place_options(*verb, words->task);
  add_choice_options(*verb, words->task);
}

}  // namespace agenttask::console
