#include "agent/console_api/console_calls.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/call_arguments.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/runner/runner.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/problem.hpp"
#include "platform/protocol/task_json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kFullPageBytes = 8 * 1024 * 1024;  ///< a list with data and results ends past this

struct ListArguments {
  TaskFilter filter;
  std::optional<std::int64_t> cursor;
  std::size_t most = limits::kPageDefault;
  bool full = false;
};

Result<ListArguments> read_list(const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  ListArguments list;
  list.filter.type = reader.text("type", limits::kTypeBytes, 1).value_or("");
  if (const auto name = reader.text("status", 32, 1)) {
    if (const auto status = parse_task_status(*name)) {
      list.filter.status = *status;
    } else {
      reader.refuse("status", status.error().message);
    }
  }
  list.filter.tags = reader.texts("tag", limits::kTags, limits::kTagBytes, 1).value_or(list.filter.tags);
  list.filter.room_id = reader.text("roomId", limits::kRoomBytes, 1).value_or("");
  list.filter.world_id = reader.text("worldId", limits::kRoomBytes, 1).value_or("");
  if (const auto text = reader.text("cursor", 20, 1)) {
    std::int64_t cursor = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), cursor);
    if (error != std::errc{} || end != text->data() + text->size() || cursor < 0) {
      reader.refuse("cursor", "is not what a list gave as nextCursor");
    }
    list.cursor = cursor;
  }
  list.most =
      static_cast<std::size_t>(reader.integer("limit", 1, static_cast<std::int64_t>(limits::kPageMost))
                                   .value_or(static_cast<std::int64_t>(limits::kPageDefault)));
  list.full = reader.boolean("full").value_or(false);
  list.filter.deleted = reader.boolean("deleted").value_or(false);
  if (auto error = reader.finish()) return *error;
  return list;
}

/// The codes that the operators' API has for the same.
Problem as_over_https(Problem problem) {
  if (problem.field == "id" && problem.code == "not-found") problem.code = "unknown-task";
  if (problem.field == "id" && problem.code == "conflict") problem.code = "ambiguous-task";
  if (problem.field == "status" && problem.code == "conflict") problem.code = "already-ended";
  return problem;
}

}  // namespace

struct ConsoleCalls::Call {
  std::string_view name;
  Right right;
  Result<std::string> (ConsoleCalls::*function)(const json&, const Caller&) const;
};

ConsoleCalls::ConsoleCalls(const ConsoleSettings& settings, const ConsoleControls& controls, Ledger& ledger,
                           Runner& runner, const Clock& clock)
    : settings_(settings),
      controls_(controls),
      ledger_(ledger),
      runner_(runner),
      clock_(clock),
      started_(clock.wall()) {}

Result<void> ConsoleCalls::answer(std::string_view line, const Caller& caller) const {
  auto result = dispatch(line, caller);
  if (result && result->empty()) return {};
  if (result) return caller.send(R"({"result":)" + *result + "}");
  // encode() never fails on bytes that are not UTF-8, which a message may quote from the request.
  return caller.send(R"({"problem":)" + encode(as_over_https(to_problem(result.error()))) + "}");
}

Result<std::string> ConsoleCalls::dispatch(std::string_view line, const Caller& caller) const {
  static constexpr std::array<Call, 23> kCalls{{
      {"createTask", Right::run, &ConsoleCalls::create_task},
      {"getTask", Right::choose, &ConsoleCalls::get_task},
      {"getTasks", Right::choose, &ConsoleCalls::get_tasks},
      {"getRuns", Right::view, &ConsoleCalls::get_runs},
      {"getOutput", Right::view, &ConsoleCalls::get_output},
      {"explainTask", Right::view, &ConsoleCalls::explain_task},
      {"updateTask", Right::run, &ConsoleCalls::update_task},
      {"deleteTask", Right::run, &ConsoleCalls::delete_task},
      {"cancelTask", Right::run, &ConsoleCalls::cancel_task},
      {"chooseTask", Right::choose, &ConsoleCalls::choose_task},
      {"pauseTask", Right::run, &ConsoleCalls::pause_task},
      {"resumeTask", Right::run, &ConsoleCalls::resume_task},
      {"runTask", Right::run, &ConsoleCalls::run_task},
      {"createMessage", Right::run, &ConsoleCalls::create_message},
      {"getMessages", Right::view, &ConsoleCalls::get_messages},
      {"watch", Right::view, &ConsoleCalls::watch},
      {"status", Right::view, &ConsoleCalls::status},
      {"hold", Right::run, &ConsoleCalls::hold},
      {"release", Right::run, &ConsoleCalls::release},
      {"enroll", Right::run, &ConsoleCalls::enroll},
      {"unenroll", Right::run, &ConsoleCalls::unenroll},
      {"diagnostics", Right::view, &ConsoleCalls::diagnostics},
      {"getWorkers", Right::view, &ConsoleCalls::get_workers},
  }};
  const auto request = parse_json(line);
  if (!request) return with_context(request.error(), "the request is not a line of JSON");
  if (!request->is_object()) return Error{ErrorCode::invalid, "the request is not a JSON object"};
  ObjectReader reader(*request, ObjectReader::Unknown::refuse);
  reader.require("call");
  const std::string name = reader.text("call", kIdBytes, 1).value_or("");
  const json* arguments = reader.object("arguments");
  if (auto error = reader.finish()) return *error;
  const auto* call =
      std::find_if(kCalls.begin(), kCalls.end(), [&](const Call& one) { return one.name == name; });
  if (call == kCalls.end()) {
    return Error{ErrorCode::unsupported, "this agent knows no call named " + name, "call"};
  }
  if (right_of(caller.peer, settings_) < call->right) return denied(caller.peer, call->right, settings_);
  return (this->*call->function)(arguments != nullptr ? *arguments : json::object(), caller);
}

Result<std::string> ConsoleCalls::create_task(const json& arguments, const Caller& caller) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("task");
  const json* task = reader.object("task");
  const bool follows = reader.boolean("follow").value_or(false);
  const bool output = reader.boolean("output").value_or(true);
  if (auto error = reader.finish()) return *error;
  if (task->contains("id")) {
    return Error{ErrorCode::invalid, "id is made by the agent for tasks that are created on the device",
                 "id"};
  }
  auto spec = parse_task_request(*task);
  if (!spec) return spec.error();
  const auto concerns = controls_.concerns ? controls_.concerns(*spec) : std::vector<std::string>();
  auto created = ledger_.create(std::move(*spec));
  if (!created) return created.error();
  json summary = task_to_json(created->task, Detail::full);
  if (!concerns.empty()) summary["warnings"] = concerns;
  if (!follows) return encode_json(summary);
  const auto sent = caller.send(encode_json(json{{"event", "created"}, {"task", std::move(summary)}}));
  if (!sent) return sent.error();  // the task stays: it was accepted
  return follow(created->task.spec.id, {output}, caller);
}

Result<std::string> ConsoleCalls::whole_task(std::string_view id) const {
  auto task = ledger_.get(id);
  if (!task) return task.error();
  json value = task_to_json(*task, Detail::full);
  const auto result = value.find("result");
  if (task->spec.type == "command" && result != value.end() && result->is_object()) {
    // While the next attempt runs, the result is that of the one before.
    const auto run = task->state.run_count - (task->state.status == TaskStatus::running ? 1 : 0);
    auto chunks = ledger_.kept_output(id, run);
    if (!chunks) return chunks.error();
    add_output(*result, *chunks);
  }
  return encode_json(value);
}

Result<std::string> ConsoleCalls::get_task(const json& arguments, const Caller& caller) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  if (right_of(caller.peer, settings_) == Right::choose) {
    const auto task = task_for_chooser(argument->id);
    if (!task) return task.error();
    return encode_json(task_to_json(*task, Detail::summary));
  }
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  return whole_task(*id);
}

Result<std::string> ConsoleCalls::get_tasks(const json& arguments, const Caller& caller) const {
  const auto list = read_list(arguments);
  if (!list) return list.error();
  if (right_of(caller.peer, settings_) == Right::choose) {
    return tasks_for_chooser(list->filter, list->cursor, list->most);
  }
  json tasks = json::array();
  auto cursor = list->cursor;
  std::size_t bytes = 0;
  while (tasks.size() < list->most) {
    // With data and results the page ends where it grows too large, so the ledger is asked for one at a time.
    const auto page = ledger_.list(list->filter, cursor, list->full ? 1 : list->most);
    if (!page) return page.error();
    for (const Task& task : page->tasks) {
      if (list->full) {
        auto whole = ledger_.get(task.spec.id);
        if (!whole) return whole.error();
        tasks.push_back(task_to_json(*whole, Detail::full));
        bytes += whole->spec.data.size() + whole->state.result.size();
      } else {
        tasks.push_back(task_to_json(task, Detail::summary));
      }
    }
    cursor = page->next_cursor;
    if (!list->full || !cursor || bytes > kFullPageBytes) break;
  }
  json answer{{"tasks", std::move(tasks)}};
  answer["nextCursor"] = cursor ? json(std::to_string(*cursor)) : json();
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::get_runs(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto runs = ledger_.runs(*id);
  if (!runs) return runs.error();
  json list = json::array();
  for (auto run = runs->rbegin(); run != runs->rend(); ++run) list.push_back(run_to_json(*run));
  return encode_json(json{{"runs", std::move(list)}});
}

Result<std::string> ConsoleCalls::explain_task(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto explanation = runner_.explain(*id);
  if (!explanation) return explanation.error();
  json answer{{"task", task_to_json(explanation->task, Detail::summary)},
              {"reason", explanation->reason},
              {"detail", explanation->detail}};
  if (explanation->outside) answer["outside"] = true;
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::update_task(const json& arguments, const Caller&) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  reader.require("changes");
  const std::string text = reader.text("id", kIdBytes, 1).value_or("");
  const json* changes = reader.object("changes");
  if (auto error = reader.finish()) return *error;
  const auto id = ledger_.resolve(text);
  if (!id) return id.error();
  const auto task = ledger_.update(*id, encode_json(*changes));
  if (!task) return task.error();
  return encode_json(task_to_json(*task, Detail::full));
}

Result<std::string> ConsoleCalls::delete_task(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto removed = ledger_.remove(*id);
  if (!removed) return removed.error();
  return encode_json(task_to_json(removed->task, Detail::full));
}

Result<std::string> ConsoleCalls::cancel_task(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto before = ledger_.get(*id);
  if (!before) return before.error();
  const auto cancelled = ledger_.cancel(*id);
  if (!cancelled) return cancelled.error();
  const TaskStatus status = cancelled->task.state.status;
  const bool just_now = !has_ended(before->state.status) && status == TaskStatus::cancelled;
  if (has_ended(status) && !just_now) {
    return Error{ErrorCode::conflict, "task " + *id + " has ended already: " + std::string(to_string(status)),
                 "status"};
  }
  return encode_json(task_to_json(cancelled->task, Detail::full));
}

}  // namespace agenttask::agent
