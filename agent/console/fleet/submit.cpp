#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/batches.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/service_words.hpp"
#include "agent/console/task_words.hpp"
#include "agent/console/text.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string node;
  std::string type;
  std::string data;
  std::string text;
  std::string id;
  std::string idempotency_key;
  bool wait = false;
  bool detach = false;
  CommandWords command;
  ServiceWords service;
  TaskWords task;
  TargetWords target;  ///< in place of the node
};

/// Enqueues; prints the id, or waits and prints what came of it.
int enqueue(const Fleet& fleet, const Words& words, const std::string& node, Result<json> body) {
  if (!body) return fleet.console.fail(body.error());
  if (!words.id.empty()) (*body)["id"] = words.id;
  const agent::Answer answer =
      request_work(fleet, api_path({"nodes", node, "tasks"}), *body, words.idempotency_key, words.wait,
                   "left before the server answered; whether it took the task: agenttask fleet list");
  if (!answer.ok()) return fleet.console.fail(*answer.problem);
  const auto view = task_of(answer);
  if (!view) return fleet.console.fail(view.error());
  if (words.wait) return follow_fleet(fleet, {view->task.spec.id, true, true});
  if (fleet.console.json) {
    fleet.console.print_json(answer.json);
  } else {
    const std::string understood = announce(view->task, now(), kFleetVerbs);
    if (!understood.empty()) fleet.console.screen.say(understood);
    fleet.console.screen.print(view->task.spec.id + "\n");
  }
  return kSuccess;
}

/// Whether it says for whom it is.
Result<void> check_place(const TargetWords& target, const std::string& node) {
  if (target.given()) return {};
  if (target.dry_run) {
    return Error{ErrorCode::invalid, "--dry-run goes with --all, --label or --node: it lists the devices"};
  }
  if (!node.empty()) return {};
  return Error{ErrorCode::invalid, "say for which NODE, or for many devices with --all, --label or --node"};
}

/// Enqueues for NODE, or for the devices that the options name.
int enqueue_for(const Fleet& fleet, const Words& words, const std::string& node, Result<json> body) {
  if (const auto fits = check_place(words.target, node); !fits) return fleet.console.fail(fits.error());
  if (!words.target.given()) return enqueue(fleet, words, node, std::move(body));
  if (!body) return fleet.console.fail(body.error());
  if (!words.id.empty()) (*body)["id"] = words.id;
  return enqueue_batch(fleet, {words.target, std::move(*body), words.idempotency_key, words.wait});
}

/// With --all, --label or --node there is no NODE: the first word is `next`, the one behind it.
Result<void> shift(const TargetWords& target, std::string& node, std::string& next) {
  if (!target.given() || node.empty()) return {};
  if (!next.empty()) {
    return Error{ErrorCode::invalid,
                 "'" + node + "' is a word too many: --all, --label and --node take the place of NODE"};
  }
  next = std::exchange(node, {});
  return {};
}

/// Another task like one that is there, for the same device or for NODE.
int add_like(const Fleet& fleet, const Words& words, const json& data) {
  if (!words.type.empty()) {
    return fleet.console.fail(
        Error{ErrorCode::invalid, "--like takes the type from that task: leave TYPE out"});
  }
  std::string id;
  const agent::Answer found = fleet.api.resolve(words.task.like, id);
  if (!found.ok()) return fleet.console.fail(*found.problem);
  const agent::Answer answer = fleet.api.call("GET", api_path({"tasks", id}));
  if (!answer.ok()) return fleet.console.fail(*answer.problem);
  const auto task = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!task) return fleet.console.fail(with_context(task.error(), "cannot read the server's answer"));
  auto typed = task_request({}, data, words.task, now());
  if (!typed) return fleet.console.fail(typed.error());
  const bool its_own = words.node.empty() && !words.target.given();
  const std::string node = its_own ? text_of(*task, "nodeId") : words.node;
  json body = like_request(*task, std::move(*typed), !words.data.empty(), now());
  return enqueue_for(fleet, words, node, Result<json>(boost::system::in_place_value, std::move(body)));
}

int add(const Fleet& fleet, const Words& typed) {
  Words words = typed;
  if (const auto done = shift(words.target, words.node, words.type); !done)
    return fleet.console.fail(done.error());
  json data = json::object();
  if (!words.data.empty()) {
    auto given = data_argument(words.data);
    if (!given) return fleet.console.fail(with_context(given.error(), "--data"));
    data = std::move(*given);
  }
  if (!words.task.like.empty()) return add_like(fleet, words, data);
  if (words.type.empty()) {
    return fleet.console.fail(Error{
        ErrorCode::invalid,
        "say for which NODE (or with --all, --label or --node for many) and of which TYPE, or with --like "
        "which task to repeat"});
  }
  return enqueue_for(fleet, words, words.node, task_request(words.type, std::move(data), words.task, now()));
}

int command(const Fleet& fleet, const Words& typed) {
  Words words = typed;
  if (const auto done = shift(words.target, words.node, words.command.line); !done)
    return fleet.console.fail(done.error());
  if (const auto fits = check_place(words.target, words.node); !fits) return fleet.console.fail(fits.error());
  auto data = command_data(words.command, fleet.console.rest, false);
  if (!data) return fleet.console.fail(data.error());
  return enqueue_for(fleet, words, words.node, task_request("command", std::move(*data), words.task, now()));
}

/// Waits for a task that was made to hear something from the device: prints what `said` makes of its result.
int hear(const Fleet& fleet, const std::string& node, const json& body,
         std::string (*said)(const RunResult&)) {
  agent::Answer answer = fleet.api.call("POST", api_path({"nodes", node, "tasks"}), {}, encode_json(body));
  if (!answer.ok()) return fleet.console.fail(*answer.problem);
  auto view = task_of(answer);
  if (!view) return fleet.console.fail(view.error());
  const std::string id = view->task.spec.id;
  fleet.interrupts.set_farewell("left task " + id + " as it is; see: agenttask fleet show " + id);
  std::string told;  ///< why it waits
  while (!has_ended(view->task.state.status)) {
    const TaskState& state = view->task.state;
    const bool may_last = state.reason == reason::kDeviceOffline || state.reason == reason::kNoWorker;
    if (may_last && state.detail != told && !fleet.console.json) {
      fleet.console.screen.say("waiting: " + printable(state.detail));
      told = state.detail;
    }
    // A short wait first, so that a wait that may last is mentioned soon.
    answer = fleet.api.call("GET", api_path({"tasks", id}), {{"wait", told.empty() ? "2000" : "55000"}});
    if (!answer.ok()) return fleet.console.fail(*answer.problem);
    view = task_of(answer);
    if (!view) return fleet.console.fail(view.error());
  }
  const Conclusion conclusion = conclude(*view, false);
  if (fleet.console.json) {
    fleet.console.print_json(answer.json);
  } else if (view->task.state.status == TaskStatus::complete) {
    fleet.console.screen.print(said(view->result) + "\n");
  } else if (!conclusion.message.empty()) {
    fleet.console.screen.say(conclusion.message);
  }
  return conclusion.exit_code;
}

/// An echo is for trying whether a device answers: it always waits.
int echo(const Fleet& fleet, const Words& words) {
  const auto body = task_request("echo", json{{"message", words.text}}, words.task, now());
  if (!body) return fleet.console.fail(body.error());
  return hear(fleet, words.node, *body, [](const RunResult& result) {
    const auto data = parse_json(result.data);
    const bool plain =
        data && data->is_object() && data->contains("message") && (*data)["message"].is_string();
    return plain ? (*data)["message"].get<std::string>() : result.data;
  });
}

int service(const Fleet& fleet, const Words& words) {
  auto data = service_data(words.service);
  if (!data) return fleet.console.fail(data.error());
  auto body = task_request("service", std::move(*data), words.task, now());
  if (!body) return fleet.console.fail(body.error());
  if (words.detach || outlasts_its_console(words.task)) {
    return enqueue(fleet, words, words.node, std::move(body));
  }
  return hear(fleet, words.node, *body, [](const RunResult& result) { return service_answer(result.data); });
}

void add_common(CLI::App& verb, Words& words) {
  verb.add_flag(
      "--wait", words.wait,
      "Print its output as it comes, and exit as it did; Ctrl-C cancels it (for many devices: wait for "
      "all)");
  verb.add_option("--id", words.id, "Its id: a UUID of your own, so that a repetition makes no second task")
      ->type_name("UUID");
  verb.add_option("--idempotency-key", words.idempotency_key,
                  "The same key and request: the same task, for 30 days")
      ->type_name("KEY");
  add_task_options(verb, words.task);
  add_place_options(verb, words.task);
  add_choice_options(verb, words.task);
}

}  // namespace

void add_fleet_submit(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  const char* node_help = "The device: its id or its name";

  CLI::App* verb = add_fleet_verb(
      fleet, console,
      {"add", "Enqueue a task of any type for a device; prints its id",
       "  agenttask fleet add web-1 echo --data '{\"message\":\"Hello\"}'\n"
       "  agenttask fleet add web-1 command --data '{\"cmd\":\"backup\"}' --every 24h "
       "--at \"tomorrow 03:00\" --tag nightly\n"
       "  agenttask fleet add web-1 command --description \"Restart for updates\" \\\n"
       "      --choice now:\"Restart now\" --choice later:\"Not today\" --chooser user \\\n"
       "      --data '{\"cmd\":\"case $AGENTTASK_OPTION in now) reboot;; esac\"}'\n"
       "  agenttask fleet add --all --wait echo --data '{\"message\":\"Hello\"}'\n"
       "  agenttask fleet add --like 4f2a\n"
       "  agenttask fleet add web-2 --like 4f2a\n"
       "With --choice it runs with whatever was chosen: the worker reads it as "
       "options.option, a\n"
       "command as $AGENTTASK_OPTION. --like without NODE is for the device of that task.\n"
       "With --all, --label or --node it is for many devices, without NODE: it prints the id of "
       "the\nbatch, and --wait exits with 0 where it is complete on all, and with 1 where not."},
      [words](const Fleet& at) { return add(at, *words); });
  verb->add_option("NODE", words->node, node_help)->type_name("");
  verb->add_option("TYPE", words->type, "Name of the worker, such as echo or command")->type_name("");
  add_like_option(*verb, words->task);
  verb->add_option("--data", words->data, "Input of the worker: a JSON object, @FILE or -")
      ->type_name("JSON");
  add_common(*verb, *words);
  add_target_options(*verb, words->target);

  verb = add_fleet_verb(
      fleet, console,
      {"command", "Enqueue a command for a device; prints its id, or with --wait its output",
       "  agenttask fleet command web-1 --wait \"uptime\"\n"
       "  agenttask fleet command web-1 --wait -- ls -l \"a b\"\n"
       "  agenttask fleet command --label site=berlin --label role=web --wait \"uptime\"\n"
       "  agenttask fleet command --all --dry-run \"uptime\"\n"
       "With --wait the exit code is the command's; 124 timed out; 128+n signal n; 125 AgentTask failed. For "
       "many\n"
       "devices: 0 complete on all; 1 ended, and not complete on all; 130 cancelled by Ctrl-C.",
       true},
      [words](const Fleet& at) { return command(at, *words); });
  verb->add_option("NODE", words->node, node_help)->type_name("");
  verb->add_option("LINE", words->command.line, "A shell line; or put a program and its arguments after --")
      ->type_name("");
  add_common(*verb, *words);
  add_target_options(*verb, words->target);
  add_command_options(*verb, words->command);

  verb = add_fleet_verb(fleet, console,
                        {"echo", "Send a text to a device and print what comes back",
                         "  agenttask fleet echo web-1 \"test data\""},
                        [words](const Fleet& at) { return echo(at, *words); });
  verb->add_option("NODE", words->node, node_help)->type_name("")->required();
  verb->add_option("TEXT", words->text, "What to echo")->type_name("")->required();

  verb = add_fleet_verb(
      fleet, console,
      {"service", "Call a service that a worker of a device offers; prints its answer",
       "  agenttask fleet service web-1 solana getBalance --data '{\"account\":\"petty-cash\"}'\n"
       "  agenttask fleet service web-1 solana refresh --every 1h\n"
       "  agenttask fleet node show web-1        # which services it has\n"
       "It waits for a device that is away, and for a service that nobody offers yet. Ctrl-C leaves the\n"
       "call as it is, and prints the id of its task."},
      [words](const Fleet& at) { return service(at, *words); });
  verb->add_option("NODE", words->node, node_help)->type_name("")->required();
  add_service_words(*verb, words->service);
  verb->add_flag("--detach", words->detach,
                 "Print the task's id and don't wait (so do --every and --choice)");
  add_task_options(*verb, words->task);
  add_place_options(*verb, words->task);
  add_choice_options(*verb, words->task);
}

}  // namespace agenttask::console
