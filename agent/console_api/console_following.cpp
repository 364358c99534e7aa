// The calls that follow a task, or read what a run of it wrote.
#include <algorithm>
#include <chrono>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/call_arguments.hpp"
#include "agent/console_api/console_calls.hpp"
#include "agent/console_api/limits.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/runner/runner.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kFollowTick{500};  ///< how often a quiet watcher is looked after
constexpr std::chrono::milliseconds kLastLook{200};    ///< for the end of a run, when the agent stops
constexpr std::chrono::milliseconds kStateEvery{100};  ///< states are sent at most this often
constexpr std::size_t kOutputPage = 16;                ///< chunks read from the ledger at once

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

Result<std::string> ConsoleCalls::get_output(const json& arguments, const Caller& caller) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  const std::string text = reader.text("id", kIdBytes, 1).value_or("");
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

Result<std::string> ConsoleCalls::watch(const json& arguments, const Caller& caller) const {
  const auto argument = read_id(arguments, true);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  return follow(*id, {argument->output}, caller);
}

Result<std::optional<std::string>> ConsoleCalls::settled_run(const std::string& id, std::int64_t run) const {
  const auto task = ledger_.get(id);
  if (!task) return task.error();
  const auto runs = ledger_.runs(id);
  if (!runs) return runs.error();
  const auto found =
      std::find_if(runs->begin(), runs->end(), [&](const Run& one) { return one.number == run; });
  if (found == runs->end()) {
    return Error{ErrorCode::not_found, "run " + std::to_string(run) + " of task " + id + " is gone", "id"};
  }
  if (found->status == RunStatus::running) return std::optional<std::string>();
  // It is tried again: it waits for that, or has waited and starts at any moment.
  const TaskState& state = task->state;
  const bool is_between =
      state.status == TaskStatus::sent && state.reason != reason::kNotDue && state.reason != reason::kPaused;
  if (is_between && found->status == RunStatus::failed && found->occurrence == state.occurrence)
    return std::optional<std::string>();
  return std::optional(
      encode_json(json{{"task", task_to_json(*task, Detail::summary)}, {"run", run_to_json(*found)}}));
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

}  // namespace agenttask::agent
