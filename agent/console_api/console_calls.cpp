#include "agent/console_api/console_calls.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/limits.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/runner/runner.hpp"
#include "platform/os/host.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/problem.hpp"
#include "platform/protocol/task_json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kIdText = 64;
constexpr std::chrono::milliseconds kFollowTick{500};    ///< how often a quiet watcher is looked after
constexpr std::chrono::milliseconds kLastLook{200};      ///< for the end of a run, when the agent stops
constexpr std::chrono::milliseconds kStateEvery{100};    ///< states are sent at most this often
constexpr std::size_t kFullPageBytes = 8 * 1024 * 1024;  ///< a list with data and results ends past this
constexpr std::size_t kOutputPage = 16;                  ///< chunks read from the ledger at once

/// The one argument of most calls.
struct IdArgument {
  std::string id;
  bool output = true;
};

Result<IdArgument> read_id(const json& arguments, bool with_output = false) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  IdArgument result{reader.text("id", kIdText, 1).value_or("")};
  if (with_output) result.output = reader.boolean("output").value_or(true);
  if (auto error = reader.finish()) return *error;
  return result;
}

Result<void> read_nothing(const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  if (auto error = reader.finish()) return *error;
  return {};
}

json parse_own(const std::string& text) {
  auto value = parse_json(text, limits::kJsonDepth + 16);
  return value ? std::move(*value) : json::object();
}

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

/// `device` or `operator`; empty where nobody holds, or it is not known who.
std::string_view name_of(HeldBy held_by) {
  switch (held_by) {
    case HeldBy::device:
      return "device";
    case HeldBy::server:
      return "operator";
    case HeldBy::nobody:
    case HeldBy::unknown:
      break;
  }
  return {};
}

/// What a watcher was told last: a new one is told only when something of it changed.
struct SeenState {
  std::string status, reason, detail;
  std::int64_t runs = 0;
  bool cancelling = false;
  bool paused = false;
  std::int64_t occurrence = 0;
  bool operator==(const SeenState&) const = default;
};

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
  const std::string name = reader.text("call", kIdText, 1).value_or("");
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
  auto created = ledger_.create(std::move(*spec));
  if (!created) return created.error();
  json summary = task_to_json(created->task, Detail::full);
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

Result<std::string> ConsoleCalls::get_output(const json& arguments, const Caller& caller) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  const std::string text = reader.text("id", kIdText, 1).value_or("");
  const auto wanted = reader.integer("run", 1, INT64_MAX);
  if (auto error = reader.finish()) return *error;
  const auto id = ledger_.resolve(text);
  if (!id) return id.error();
  const auto runs = ledger_.runs(*id);
  if (!runs) return runs.error();
  std::int64_t number = wanted.value_or(0);
  for (const Run& run : *runs) {
    if (!wanted) number = std::max(number, run.number);
  }
  const auto run =
      std::find_if(runs->begin(), runs->end(), [&](const Run& one) { return one.number == number; });
  if (runs->empty()) return Error{ErrorCode::not_found, "task " + *id + " has not run yet", "run"};
  if (run == runs->end()) {
    return Error{ErrorCode::not_found,
                 "task " + *id + " has no run " + std::to_string(number) + "; agenttask runs lists them",
                 "run"};
  }
  if (run->status == RunStatus::running) {
    return Error{
        ErrorCode::conflict,
        "run " + std::to_string(number) + " goes on; follow it with: agenttask output --follow " + *id,
        "run"};
  }
  for (std::size_t skip = 0;; skip += kOutputPage) {
    const auto chunks = ledger_.kept_output(*id, number, skip, kOutputPage);
    if (!chunks) return chunks.error();
    for (const OutputChunk& chunk : *chunks) {
      json event = chunk_to_json(chunk);
      event["event"] = "output";
      event["run"] = number;
      if (const auto sent = caller.send(encode_json(event)); !sent) return sent.error();
    }
    if (chunks->size() < kOutputPage) break;
  }
  return encode_json(run_to_json(*run));
}

Result<std::string> ConsoleCalls::explain_task(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto explanation = runner_.explain(*id);
  if (!explanation) return explanation.error();
  return encode_json(json{{"task", task_to_json(explanation->task, Detail::summary)},
                          {"reason", explanation->reason},
                          {"detail", explanation->detail}});
}

Result<std::string> ConsoleCalls::update_task(const json& arguments, const Caller&) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  reader.require("changes");
  const std::string text = reader.text("id", kIdText, 1).value_or("");
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

Result<std::string> ConsoleCalls::watch(const json& arguments, const Caller& caller) const {
  const auto argument = read_id(arguments, true);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  return follow(*id, {argument->output}, caller);
}

Result<std::string> ConsoleCalls::follow(const std::string& id, const Following& what,
                                         const Caller& caller) const {
  const auto follower = runner_.follow(id, Pace::shared, what.after);
  if (!follower) return follower.error();
  std::int64_t over = 0;  ///< the run that has ended last
  SeenState seen;
  MonotonicTime looked{};
  std::optional<MonotonicTime> stopped;  ///< until when a stopping agent goes on with what there still is
  while (true) {
    if (clock_.monotonic() - looked >= kStateEvery || looked == MonotonicTime{}) {
      looked = clock_.monotonic();
      auto now = runner_.explain(id);
      if (!now) return now.error();
      TaskState& state = now->task.state;
      if (!has_ended(state.status)) {
        state.reason = now->reason;
        state.detail = now->detail;
      }
      SeenState fresh{std::string(to_string(state.status)),  state.reason, state.detail,    state.run_count,
                      state.cancel_requested_at.has_value(), state.paused, state.occurrence};
      if (fresh != seen) {
        seen = std::move(fresh);
        const json event{{"event", "state"}, {"task", task_to_json(now->task, Detail::summary)}};
        if (const auto sent = caller.send(encode_json(event)); !sent) return sent.error();
      }
    }
    // An agent that stops has ended its runs first: what came of this one shall still reach who watches.
    const bool stopping = caller.stop.stop_requested();
    auto news =
        (*follower)->next(stopping ? kLastLook : kFollowTick, stopping ? std::stop_token() : caller.stop);
    if (!news) return news.error();
    for (const OutputChunk& chunk : what.output ? news->chunks : std::vector<OutputChunk>{}) {
      json event = chunk_to_json(chunk);
      event["event"] = "output";
      event["run"] = news->run;
      if (const auto sent = caller.send(encode_json(event)); !sent) return sent.error();
    }
    if (news->run_ended) {
      const json event{{"event", "runEnded"}, {"run", news->run}};
      if (const auto sent = caller.send(encode_json(event)); !sent) return sent.error();
      over = news->run;
    }
    if (what.one_run && over != 0) {
      auto settled = settled_run(id, over);
      if (!settled) return settled.error();
      if (*settled) return std::move(**settled);
    }
    if (news->task_ended) return whole_task(id);
    if (caller.gone()) return Error{ErrorCode::unavailable, "nobody watches any more"};
    if (stopping && !stopped) stopped = clock_.monotonic() + kConsoleLastWords;
    const bool more = !news->chunks.empty() || news->run_ended;
    if (stopping && (!more || clock_.monotonic() >= *stopped)) {
      return Error{
          ErrorCode::unavailable,
          "the agent is stopping; see what became of the task when it is back: agenttask show " + id};
    }
  }
}

Result<std::string> ConsoleCalls::status(const json& arguments, const Caller&) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  const RunnerStatus runner = runner_.status();
  json answer{{"agent",
               {{"version", AGENTTASK_VERSION},
                {"pid", os::current_pid()},
                {"user", os::current_user_name()},
                {"startedAt", started_},
                {"time", clock_.wall()}}},
              {"slots", runner.slots},
              {"running", runner.running}};
  if (!runner.ledger_problem.empty()) answer["ledgerProblem"] = runner.ledger_problem;
  const auto ledger = ledger_.status();
  if (ledger) {
    json counts = json::object();
    for (const auto& [status, count] : ledger->tasks) counts[std::string(to_string(status))] = count;
    answer["tasks"] = std::move(counts);
    answer["hold"] = ledger->held_by != HeldBy::nobody;
    if (!ledger->quarantine.empty()) answer["quarantine"] = ledger->quarantine;
    for (const FormerNode& former : ledger->former_nodes) {
      answer["formerNodes"].push_back(
          {{"nodeId", former.node_id}, {"tasks", former.tasks}, {"running", former.running}});
    }
    if (const auto name = name_of(ledger->held_by); !name.empty()) answer["heldBy"] = name;
    answer["nodeId"] = ledger->node_id;  // without a link to ask, the last node that the tasks belonged to
    answer["ledger"] = {{"fileBytes", ledger->file_bytes},
                        {"outboxReports", ledger->outbox_reports},
                        {"outboxBytes", ledger->outbox_bytes},
                        {"outboxBudget", ledger->outbox_budget},
                        {"epoch", ledger->epoch},
                        {"directives", ledger->directives.sequence},
                        {"reports", ledger->reports.sequence},
                        {"acknowledged", ledger->acknowledged.sequence}};
  } else {
    // A sick ledger must not silence the one call that can say so.
    answer["ledgerProblem"] = ledger.error().message;
  }
  if (controls_.server_status) {
    answer["server"] = parse_own(controls_.server_status());
    answer["nodeId"] = answer["server"].value("nodeId", "");
  }
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::switch_hold(const json& arguments, bool hold) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  const auto before = ledger_.set_hold(hold);
  if (!before) return before.error();
  json answer{{"hold", hold}, {"running", runner_.status().running}, {"wasHeld", *before != HeldBy::nobody}};
  if (const auto name = name_of(*before); !name.empty()) answer["wasHeldBy"] = name;
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::hold(const json& arguments, const Caller&) const {
  return switch_hold(arguments, true);
}

Result<std::string> ConsoleCalls::release(const json& arguments, const Caller&) const {
  return switch_hold(arguments, false);
}

Result<std::string> ConsoleCalls::enroll(const json& arguments, const Caller&) const {
  constexpr std::size_t kUrl = 1024;
  constexpr std::size_t kToken = 1024;
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("url");
  reader.require("token");
  const std::string url = reader.text("url", kUrl, 1).value_or("");
  const std::string token = reader.text("token", kToken, 1).value_or("");
  const std::string name = reader.text("name", limits::kNodeNameBytes, 1).value_or("");
  if (auto error = reader.finish()) return *error;
  if (!controls_.enroll) return Error{ErrorCode::unsupported, "this agent cannot enrol"};
  if (const auto done = controls_.enroll(url, token, name); !done) return done.error();
  return encode_json(
      json{{"server", controls_.server_status ? parse_own(controls_.server_status()) : json::object()}});
}

Result<std::string> ConsoleCalls::unenroll(const json& arguments, const Caller&) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  if (!controls_.unenroll) return Error{ErrorCode::unsupported, "this agent cannot enrol"};
  if (const auto done = controls_.unenroll(); !done) return done.error();
  return encode_json(
      json{{"server", controls_.server_status ? parse_own(controls_.server_status()) : json::object()}});
}

Result<std::string> ConsoleCalls::diagnostics(const json& arguments, const Caller& caller) const {
  const auto known = status(arguments, caller);
  if (!known) return known.error();
  json answer = parse_own(*known);
  if (controls_.diagnostics) answer.update(parse_own(controls_.diagnostics()));
  if (const auto usage = os::own_usage()) {
    answer["usage"] = {{"residentBytes", usage->resident_bytes},
                       {"threads", usage->threads},
                       {"cpuMilliseconds", usage->cpu_milliseconds},
                       {"openFiles", usage->open_files}};
  }
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::get_workers(const json& arguments, const Caller&) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  if (!controls_.workers) return Error{ErrorCode::unsupported, "this agent can't tell of its workers"};
  return controls_.workers();
}

}  // namespace agenttask::agent
