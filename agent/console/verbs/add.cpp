#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/submit.hpp"
#include "agent/console/task_words.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

struct Words {
  std::string type;
  std::string data;
  TaskWords task;
};

int add(const Console& console, const Words& words) {
  nlohmann::json data = nlohmann::json::object();
  if (!words.data.empty()) {
    auto given = data_argument(words.data);
    if (!given) return console.fail(with_context(given.error(), "--data"));
    data = std::move(*given);
  }
  if (words.type.empty() == words.task.like.empty()) {
    return console.fail(
        Error{ErrorCode::invalid, words.type.empty()
                                      ? "say which TYPE of task to add, or with --like which task to repeat"
                                      : "--like takes the type from that task: leave TYPE out"});
  }
  const auto body = task_request(words.type, std::move(data), words.task, now());
  if (!body) return console.fail(body.error());
  if (words.task.like.empty()) return submit(console, *body);
  const agent::Answer answer = ask(console, "getTask", nlohmann::json{{"id", words.task.like}});
  if (!answer.ok()) return console.fail(*answer.problem);
  const auto task = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!task) return console.fail(with_context(task.error(), "cannot read the agent's answer"));
  return submit(console, like_request(*task, *body, !words.data.empty(), now()));
}

}  // namespace

void add_add(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"add", "Put a task of any type into the inbox of this device; prints its id",
       "  agenttask add echo --data '{\"message\":\"Hello\"}' --tag demo\n"
       "  agenttask add command --data '{\"cmd\":\"backup\"}' --at \"tomorrow 03:00\"\n"
       "  agenttask add command --data '{\"cmd\":\"report\"}' --every 24h --at 06:30 --catch-up skip\n"
       "  agenttask add command --description \"Empty the cache\" --choice yes --choice no:\"Keep it\" \\\n"
       "      --data '{\"cmd\":\"case $AGENTTASK_OPTION in yes) rm -r /var/cache/app/*;; esac\"}' \\\n"
       "      --default no --choose-until \"in 2h\" --chooser user\n"
       "  agenttask add --like 4f2a --timeout 5m\n"
       "  agenttask add SEND_REMINDER --room team --data @reminder.json --at \"in 1 day\"\n"
       "The id goes to standard output, and what was understood of times and choices to standard "
       "error.\n"
       "With --choice it runs with whatever was chosen, cancel and no included: the worker reads it as\n"
       "options.option, a command as $AGENTTASK_OPTION.\n"
       "A day of --every is 24 hours, also where the clocks change. Times without a zone are local;\n"
       "one that a change of the clocks leaves out counts as much later as was left out."},
      [&console, words] { return add(console, *words); });
  verb->add_option("TYPE", words->type, "Name of the worker, such as echo or command")->type_name("");
  add_like_option(*verb, words->task);
  verb->add_option("--data", words->data, "Input of the worker: a JSON object, @FILE or -")
      ->type_name("JSON");
  add_task_options(*verb, words->task);
  add_place_options(*verb, words->task);
  add_choice_options(*verb, words->task);
}

}  // namespace agenttask::console
