#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/task_words.hpp"
#include "agent/console/time_text.hpp"
#include "agent/console/worker_trial.hpp"
#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/external_worker.hpp"
#include "agent/workers/workers_folder.hpp"
#include "platform/base/error_text.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/process.hpp"
#include "platform/os/signals.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

constexpr int kDidNotSucceed = 1;

struct Words {
  std::string folder;
  std::string type;
  std::string service;
  std::string method;  ///< of a service; empty: a task is tried
  std::string data;
  std::string option;
  std::string room;
  std::string timeout;
};

/// The services of this worker and of its neighbours, as an agent with this workers folder has them.
std::shared_ptr<const agent::WorkerServices> services_around(const agent::WorkerManifest& manifest) {
  auto services = std::make_shared<agent::WorkerServices>();
  for (agent::FoundWorker& worker : agent::read_workers(manifest.folder.parent_path())) {
    if (!worker.problems.empty() || worker.manifest.name == manifest.name) continue;
    const auto shared = std::make_shared<const agent::WorkerManifest>(std::move(worker.manifest));
    for (const auto& service : shared->services) services->emplace(service, shared);
  }
  const auto own = std::make_shared<const agent::WorkerManifest>(manifest);
  for (const auto& service : own->services) services->insert_or_assign(service, own);
  return services;
}

/// The one that is meant of those that the worker has; `what` they are, and which option names one.
Result<std::string> pick(const std::vector<std::string>& names, const std::string& wanted, const char* what,
                         const char* option) {
  std::string list;
  for (const auto& name : names) {
    if (name == wanted || (wanted.empty() && names.size() == 1)) return name;
    list += (list.empty() ? "" : ", ") + name;
  }
  return Error{ErrorCode::invalid,
               wanted.empty() ? std::string("it has several ") + what + "; give " + option + ": " + list
                              : "it has no " + wanted + " among its " + what + ": " + list};
}

/// `type` and `data` of the task that shall be tried.
Result<json> make_work(const agent::WorkerManifest& manifest, const Words& words, json data) {
  using boost::system::in_place_value;
  if (!words.method.empty()) {
    if (manifest.services.empty())
      return Error{ErrorCode::invalid, "this worker offers no services: leave --call out"};
    const auto service = pick(manifest.services, words.service, "services", "--service");
    if (!service) return service.error();
    return Result<json>(
        in_place_value,
        json{{"type", "service"},
             {"data", {{"service", *service}, {"method", words.method}, {"arguments", std::move(data)}}}});
  }
  if (manifest.types.empty()) {
    return Error{ErrorCode::invalid,
                 "this worker runs no tasks, it only offers services: try one with --call METHOD"};
  }
  const auto type = pick(manifest.types, words.type, "types of tasks", "--type");
  if (!type) return type.error();
  return Result<json>(in_place_value, json{{"type", *type}, {"data", std::move(data)}});
}

Result<Task> make_task(const agent::WorkerManifest& manifest, const Words& words) {
  json data = json::object();
  if (!words.data.empty()) {
    auto given = data_argument(words.data);
    if (!given) return with_context(given.error(), "--data");
    data = std::move(*given);
  }
  auto work = make_work(manifest, words, std::move(data));
  if (!work) return work.error();
  json body = std::move(*work);
  if (!words.room.empty()) body["roomId"] = words.room;
  if (!words.option.empty()) body["choices"] = json::array({{{"name", words.option}}});
  if (!words.timeout.empty()) {
    const auto timeout = parse_duration(words.timeout);
    if (!timeout) return with_context(timeout.error(), "--timeout");
    body["options"] = {{"timeout", *timeout}};
  }
  auto spec = parse_task_request(body);
  if (!spec) return spec.error();
  Task task;
  task.spec = std::move(*spec);
  const UnixMilliseconds time = now();
  task.spec.id = make_uuid(time);
  task.state.status = TaskStatus::running;
  task.state.add_time = task.state.updated_at = time;
  task.state.sent_time = task.state.start_time = time;
  task.state.run_count = 1;
  if (!words.option.empty()) task.state.chosen = ChoiceMade{words.option, "operator:trial", time};
  return task;
}

json to_json(const agent::Wish& wish) {
  if (const auto* create = std::get_if<agent::CreateWish>(&wish))
    return {{"createTask", spec_to_json(create->spec)}};
  if (const auto* update = std::get_if<agent::UpdateWish>(&wish)) {
    const auto changes = parse_json(update->changes);
    return {{"updateTask", {{"id", update->task_id}, {"changes", changes ? *changes : json()}}}};
  }
  if (const auto* remove = std::get_if<agent::DeleteWish>(&wish))
    return {{"deleteTask", {{"id", remove->task_id}}}};
  return {{"createMessage", room_message_to_json(std::get<agent::MessageWish>(wish).message)}};
}

json to_json(const agent::WorkResult& result) {
  const auto data = parse_json(result.data, limits::kJsonDepth + 4);
  json value{{"success", result.status == RunStatus::complete}, {"data", data ? *data : json::object()}};
  if (result.status != RunStatus::complete) {
    const std::string& code = result.code.empty() ? result.reason : result.code;
    value["error"] = {{"code", code.empty() ? "cancelled" : code}, {"message", result.detail}};
  }
  return value;
}

void show(const Console& console, const WorkerTrial& trial, const agent::WorkResult& result,
          const std::vector<agent::Wish>& wishes) {
  json asked = json::array();
  for (const auto& wish : wishes) asked.push_back(to_json(wish));
  const json value = to_json(result);
  if (console.json) {
    console.print_json(encode_json({{"status", to_string(result.status)},
                                    {"reason", result.reason},
                                    {"detail", result.detail},
                                    {"result", value},
                                    {"progress", trial.progress_made()},
                                    {"wishes", std::move(asked)}}));
    return;
  }
  const bool succeeded = result.status == RunStatus::complete;
  for (const auto& text : trial.progress_made()) console.screen.say("progress: " + text);
  for (const auto& wish : asked) {
    console.screen.say(std::string(succeeded ? "asks for " : "asked for, and would not get ") +
                       encode_json(wish));
  }
  console.screen.say(std::string(to_string(result.status)) +
                     (result.reason.empty() ? "" : " (" + result.reason + ")") +
                     (result.detail.empty() ? "" : ": " + result.detail));
  console.screen.print(encode_json(value) + "\n");
}

/// What keeps the worker from being used or tried; all of it.
int refuse(const Console& console, const std::vector<std::string>& problems) {
  if (console.json) {
    console.print_json(encode_json({{"problems", problems}}));
  } else {
    for (const auto& problem : problems) console.screen.say(problem);
  }
  return kFailure;
}

int say_no(const Console& console, const std::string& reason, const std::string& detail) {
  if (console.json) {
    console.print_json(encode_json({{"status", "failed"}, {"reason", reason}, {"detail", detail}}));
  } else {
    console.screen.say(reason + ": " + detail);
  }
  return kDidNotSucceed;
}

int test(const Console& console, const Words& words) {
  std::error_code failed;
  const auto folder = std::filesystem::canonical(words.folder, failed);
  if (failed) return refuse(console, {"cannot open the folder " + words.folder + ": " + failed.message()});
  const agent::FoundWorker found = agent::read_worker(folder);
  if (!found.problems.empty()) return refuse(console, found.problems);
  const auto task = make_task(found.manifest, words);
  if (!task) return console.fail(task.error());

  std::optional<WorkerTrial> trial;
  const auto print = [&](OutputStream stream, std::string_view bytes) {
    if (stream == OutputStream::standard_output && !console.json) {
      console.screen.print(bytes);
    } else {
      console.screen.print_error(bytes);
    }
  };
  trial.emplace(*task, print);
  const os::InterruptWatcher interrupts([&](int count) {
    if (count > 1) std::_Exit(kInterrupted);
    trial->ask_to_stop(agent::StopCause::cancel);
  });
  os::ProcessSupervisor supervisor;
  agent::WorkerRegistry services;
  services.set_external({}, services_around(found.manifest));
  const std::shared_ptr<const agent::TaskWorker> worker =
      words.method.empty()
          ? agent::make_external_worker(std::make_shared<const agent::WorkerManifest>(found.manifest),
                                        services.services(), supervisor)
          : agent::make_service_worker(services, supervisor);
  const auto valid = worker->validate(*task, trial->stop());
  if (!valid) {
    const Error& error = valid.error();
    return say_no(console, std::string(reason::kInvalid), with_field(error.field, error.message));
  }
  if (!valid->may_run) return say_no(console, std::string(reason::kValidateFalse), valid->detail);
  const agent::WorkResult result = trial->run(*worker, agent::run_limit(task->spec, *worker));
  show(console, *trial, result, trial->wishes().take());
  return result.status == RunStatus::complete ? kSuccess : kDidNotSucceed;
}

}  // namespace

void add_worker(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* group = root.add_subcommand("worker", "Try a worker of one's own");
  group->require_subcommand(1);
  CLI::App* verb = add_verb(
      *group, console,
      {"test",
       "Check a worker's folder and run one task, or call one service; needs no agent, and changes nothing",
       "  agenttask worker test ./reminder --data '{\"userId\":\"1\",\"reminder\":\"tea\"}'\n"
       "  agenttask worker test ./workflow --type CONFIRM_REQUIREMENTS --option confirm --json\n"
       "  agenttask worker test ./solana --call getBalance --data '{\"account\":\"petty-cash\"}'\n"
       "Output comes as it is made; then, on standard error, what it asked for; last the result.\n"
       "Exit codes: 0 it succeeded; 1 it failed or refused the task; 125 the worker can't be used."},
      [&console, words] { return test(console, *words); });
  verb->add_option("FOLDER", words->folder, "The worker's folder, with its worker.json")
      ->type_name("")
      ->required();
  verb->add_option("--type", words->type, "Which of its types, where it has several")->type_name("TYPE");
  auto* call = verb->add_option("--call", words->method, "Call a service that it offers: this method")
                   ->type_name("METHOD")
                   ->excludes("--type");
  verb->add_option("--service", words->service, "Which of its services, where it has several")
      ->type_name("NAME")
      ->needs(call);
  verb->add_option("--data", words->data,
                   "Input of the task, or arguments of the call: a JSON object, @FILE or -")
      ->type_name("JSON");
  verb->add_option("--option", words->option, "The choice that was made")->type_name("NAME");
  verb->add_option("--room", words->room, "The room that the task belongs to")->type_name("ID");
  verb->add_option("--timeout", words->timeout, "Stop it after this long (default: 60s)")->type_name("TIME");
}

}  // namespace agenttask::console
