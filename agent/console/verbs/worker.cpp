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

Result<std::string> pick_type(const agent::WorkerManifest& manifest, const std::string& wanted) {
  std::string list;
  for (const auto& type : manifest.types) {
    if (type == wanted || (wanted.empty() && manifest.types.size() == 1)) return type;
    list += (list.empty() ? "" : ", ") + type;
  }
  if (list.empty()) return Error{ErrorCode::invalid, "this worker runs no tasks, it only offers services"};
  return Error{ErrorCode::invalid, wanted.empty() ? "it runs several types of tasks; give --type: " + list
                                                  : "it runs no tasks of type " + wanted + ", only: " + list};
}

Result<Task> make_task(const agent::WorkerManifest& manifest, const Words& words) {
  const auto type = pick_type(manifest, words.type);
  if (!type) return type.error();
  json data = json::object();
  if (!words.data.empty()) {
    auto given = data_argument(words.data);
    if (!given) return with_context(given.error(), "--data");
    data = std::move(*given);
  }
  json body{{"type", *type}, {"data", std::move(data)}};
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
  const auto worker =
      agent::make_external_worker(std::make_shared<const agent::WorkerManifest>(found.manifest),
                                  services_around(found.manifest), supervisor);
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
      {"test", "Check a worker's folder and run one task with it; needs no agent, and changes nothing",
       "  agenttask worker test ./reminder --data '{\"userId\":\"1\",\"reminder\":\"tea\"}'\n"
       "  agenttask worker test ./workflow --type CONFIRM_REQUIREMENTS --option confirm --json\n"
       "Output comes as it is made; then, on standard error, what it asked for; last the result.\n"
       "Exit codes: 0 it succeeded; 1 it failed or refused the task; 125 the worker can't be used."},
      [&console, words] { return test(console, *words); });
  verb->add_option("FOLDER", words->folder, "The worker's folder, with its worker.json")
      ->type_name("")
      ->required();
  verb->add_option("--type", words->type, "Which of its types, where it has several")->type_name("TYPE");
  verb->add_option("--data", words->data, "Input of the task: a JSON object, @FILE or -")->type_name("JSON");
  verb->add_option("--option", words->option, "The choice that was made")->type_name("NAME");
  verb->add_option("--room", words->room, "The room that the task belongs to")->type_name("ID");
  verb->add_option("--timeout", words->timeout, "Stop it after this long (default: 60s)")->type_name("TIME");
}

}  // namespace agenttask::console
