// Runs outside the agent's service: begun, followed while the agent is there, left alone when it stops, and
// taken up again by the next start of it.
#include <algorithm>
#include <system_error>
#include <utility>

#include "agent/runner/interrupted.hpp"
#include "agent/runner/outcome.hpp"
#include "agent/runner/outliving_folder.hpp"
#include "agent/runner/runner_body.hpp"
#include "platform/os/outliving.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What a recorder may take until it has claimed its run; and while the agent stops.
constexpr std::chrono::seconds kBeginsWithin{30};
constexpr std::chrono::seconds kBeginsWithinAtStop{5};
constexpr milliseconds kFirstLook{10};  ///< between two looks at what a recorder writes, doubled up to
constexpr milliseconds kLastLook{200};
constexpr std::chrono::seconds kBetweenStages{1};  ///< whether the recorder lives is found out so often
/// After a recorder was asked to stop its run it has the grace, the kill and the end to see to.
constexpr std::chrono::seconds kStopsWithin{30};

std::string unit_name(const std::string& run_id) {
  return "agenttask-run-" + run_id;
}

/// It will not be another at the next look.
bool is_for_good(const Error& error) {
  return error.code == ErrorCode::corrupt || error.code == ErrorCode::limit ||
         error.code == ErrorCode::invalid;
}

bool is_settled(OutlivingStage stage) {
  return stage != OutlivingStage::waiting && stage != OutlivingStage::live;
}

}  // namespace

void Runner::Body::attempt_outside(ActiveRun& active, const Task& task, const TaskWorker& worker) {
  const std::string& id = active.task.id;
  active.outside = true;
  auto prepared = OutlivingFolder::prepare(options_.spool_folder, id, task.spec.options.max_output_bytes);
  if (!prepared) return note_problem(prepared.error());
  const auto started = commit_start(id, true);
  if (!started) return prepared->remove();
  active.folder = OutlivingFolder::of(options_.spool_folder, id, started->run_id);
  log_.info("run started outside the agent",
            {{"task", id}, {"run", started->number}, {"unit", unit_name(started->run_id)}});
  std::stop_source leave;
  const auto ask = [&leave] { leave.request_stop(); };
  const std::stop_callback cancelled(active.stop.get_token(), ask);
  const std::stop_callback stopping(leaving_.get_token(), ask);
  auto launched = launch_outside(*std::move(prepared), *active.folder, *started,
                                 run_limit(started->task.spec, worker), leave.get_token());
  // Nobody waited for an answer: its recorder may come all the same.
  if (!launched && leave.stop_requested()) launched = {};
  follow_outside(active, *started, launched);
}

Result<void> Runner::Body::launch_outside(OutlivingFolder prepared, const OutlivingFolder& place,
                                          const StartedRun& started, DurationMilliseconds timeout,
                                          const std::stop_token& leave) {
  if (auto moved = prepared.move_to(place); !moved) {
    prepared.remove();
    return moved;
  }
  const Task& task = started.task;
  OutlivingRequest request{.task_id = task.spec.id,
                           .run_id = started.run_id,
                           .run = started.number,
                           .data = task.spec.data,
                           .option = task.state.chosen ? task.state.chosen->option : std::string(),
                           .timeout = timeout,
                           .keep = task.spec.options.max_output_bytes};
  if (auto written = place.write(request); !written) return written;
  const auto program = os::own_program();
  if (!program) return program.error();
  const os::OutlivingProgram recorder{
      unit_name(started.run_id),
      "AgentTask: run " + std::to_string(started.number) + " of task " + task.spec.id,
      {program->string(), "run-outside", place.path().string()},
      place.path()};
  return os::launch_outliving(supervisor_, recorder, leave);
}

void Runner::Body::follow_outside(ActiveRun& active, const StartedRun& started,
                                  const Result<void>& launched) {
  const auto outcome = await_outside(active, started, launched);
  if (!outcome) {
    log_.info("run left alone outside the agent", {{"task", active.task.id}, {"run", started.number}});
    return;
  }
  record_end(active, started, *outcome, Slot::leave_free);
  if (active.live) active.live->end();
}

bool Runner::Body::show_outside(ActiveRun& active, std::int64_t number) {
  if (active.live) return true;
  auto standard_output = Spool::reopen(active.folder->stream(OutputStream::standard_output));
  auto standard_error = Spool::reopen(active.folder->stream(OutputStream::standard_error));
  if (standard_output && standard_error) {
    show_live(active,
              std::make_shared<LiveRun>(number, *std::move(standard_output), *std::move(standard_error)), 0);
    return true;
  }
  const auto is_none = [](const auto& stream) {
    return stream || stream.error().code == ErrorCode::not_found || is_for_good(stream.error());
  };
  return is_none(standard_output) && is_none(standard_error);
}

void Runner::Body::stop_outside(ActiveRun& active, const StartedRun& started, OutsideStop& stop) {
  if (!active.stop.stop_requested()) return;
  const auto now = steady_clock::now();
  if (!stop.since) stop.since = now;
  if (!stop.told) stop.told = active.folder->ask_to_stop(active.cause.load()).has_value();
  if (stop.forced || now - *stop.since < kStopsWithin) return;
  // Its recorder does not do its work, or can't be told: what it started ends all the same.
  stop.forced = true;
  const std::vector<std::string> marks = {started.run_id};
  const std::vector<std::filesystem::path> records = {active.folder->processes()};
  (void)supervisor_.stop_marked(marks, milliseconds(0), records);
}

std::optional<RunOutcome> Runner::Body::await_outside(ActiveRun& active, const StartedRun& started,
                                                      const Result<void>& launched) {
  const OutlivingFolder& folder = *active.folder;
  const auto began = steady_clock::now();
  auto next_stage = began;
  OutsideStop stop;
  bool seen = false;  // its recorder, or what that left
  auto pause = kFirstLook;
  while (true) {
    const bool shown = show_outside(active, started.number);
    const bool more = active.live && active.live->refresh();
    const auto now = steady_clock::now();
    const auto waited = now - began;
    if (!seen || now >= next_stage || folder.has_end()) {
      const bool withdraw = !launched || active.stop.stop_requested() || waited >= kBeginsWithin ||
                            (is_stopping() && waited >= kBeginsWithinAtStop);
      const auto stage = folder.stage(withdraw);
      // No end without the output, as long as that is there.
      if (stage && is_settled(*stage) && shown) {
        if (active.live) (void)active.live->refresh();
        // Somebody took its folder away: it began, and nobody knows how it ended.
        const bool taken = seen && *stage == OutlivingStage::missing;
        auto outcome = outcome_outside(active, started, taken ? OutlivingStage::lost : *stage, launched);
        if (outcome) return outcome;
      }
      if (stage && *stage == OutlivingStage::live && !seen)
        (void)ledger_.progress(active.task.id, started.number, describe_outside(started.run_id));
      seen = seen || (stage && *stage != OutlivingStage::waiting && *stage != OutlivingStage::missing);
      next_stage = now + kBetweenStages;
    }
    stop_outside(active, started, stop);
    pause = more || (!seen && waited < kBetweenStages) ? kFirstLook : std::min(pause * 2, kLastLook);
    std::unique_lock lock(mutex_);
    // What can be neither seen nor withdrawn is left to the next start, too.
    const auto leave = [&] {
      return stopping_ && (seen || steady_clock::now() - began >= kBeginsWithinAtStop);
    };
    if (leave()) return std::nullopt;
    changed_.wait_for(lock, pause, [&] { return leave() || (active.stop.stop_requested() && !stop.since); });
  }
}

std::optional<RunOutcome> Runner::Body::outcome_outside(const ActiveRun& active, const StartedRun& started,
                                                        OutlivingStage stage, const Result<void>& launched) {
  const OutlivingFolder& folder = *active.folder;
  if (stage == OutlivingStage::missing || stage == OutlivingStage::withdrawn) {
    WorkResult result = worker_error("it was not begun outside the agent: " +
                                     (launched ? "nothing came of its start" : launched.error().message));
    if (launched && active.stop.stop_requested()) {
      result.status = RunStatus::cancelled;
      result.reason.clear();
      result.detail = "stopped before it had begun outside the agent";
    } else if (launched && is_stopping()) {
      result.reason = reason::kInterrupted;
      result.detail = kNotBegun;
    }
    return to_outcome(std::move(result), StopCause::none, {});
  }
  std::string detail = kRecorderLost;
  if (stage == OutlivingStage::ended) {
    const auto end = folder.end();
    if (end) {
      RunOutcome outcome = to_outcome(end->result, StopCause::none, {});
      outcome.ended_at = end->ended_at;
      return outcome;
    }
    // It is there, and can't be read at this moment: nothing else is true of it.
    if (!is_for_good(end.error())) return std::nullopt;
    detail = "how it ended outside the agent can't be read: " + end.error().message;
  }
  const std::vector<std::string> marks = {started.run_id};
  const std::vector<std::filesystem::path> records = {folder.processes()};
  const auto stopped = supervisor_.stop_marked(marks, options_.grace, records);
  if (active.live) (void)active.live->refresh();
  const auto count = [&](OutputStream stream) {
    return active.live ? active.live->count(stream) : RunContext::OutputCount{};
  };
  return interrupted_outcome(count(OutputStream::standard_output), count(OutputStream::standard_error),
                             stopped.survivors, detail);
}

std::string Runner::Body::describe_outside(const std::string& run_id) {
  const auto status = os::outliving_status();
  return status.means == os::OutlivingMeans::service_manager
             ? "runs outside the agent, as " + unit_name(run_id) + ".service"
             : "runs outside the agent, in a session of its own";
}

Result<bool> Runner::Body::adopt(const OpenRun& run) {
  {
    const std::scoped_lock lock(mutex_);
    if (active_.contains(run.task_id)) return true;
  }
  const auto folder = OutlivingFolder::of(options_.spool_folder, run.task_id, run.run_id);
  const auto stage = folder.stage(true);
  if (!stage) return stage.error();
  if (*stage != OutlivingStage::live && *stage != OutlivingStage::ended) return false;
  auto task = ledger_.get(run.task_id);
  if (!task) return task.error();
  ReadyTask ready{run.task_id, task->spec.type, task->spec.options.concurrency_key, 0, 0};
  auto active = std::make_shared<ActiveRun>(std::move(ready));
  active->outside = true;
  active->folder = folder;
  if (run.cancelled) active->ask_to_stop(StopCause::cancel);
  if (run.replaced) active->ask_to_stop(StopCause::replaced);
  log_.info(*stage == OutlivingStage::live ? "a run outside the agent is followed on"
                                           : "a run outside the agent has ended meanwhile",
            {{"task", run.task_id}, {"run", run.number}});
  const std::scoped_lock lock(mutex_);
  active_.emplace(run.task_id, active);
  try {
    threads_.start([this, active, started = StartedRun{*std::move(task), run.number, run.run_id}] {
      follow_outside(*active, started, {});
      retire(*active);
    });
  } catch (const std::system_error& error) {
    active_.erase(run.task_id);
    return Error{ErrorCode::unavailable,
                 std::string("the system has no thread to follow a run with: ") + error.what()};
  }
  return true;
}

/// Folders of runs that are not open: their ends are in the ledger, they never began, or the ledger does not
/// know them, as it was begun anew. Those of the last kind that go on are stopped.
void Runner::Body::remove_strays() {
  std::vector<OutlivingFolder> live;
  for (const auto& path : folders_of_nobody()) {
    const OutlivingFolder folder(path);
    if (!folder.is_removed()) {
      const auto stage = folder.stage(true);
      if (!stage) continue;
      if (*stage == OutlivingStage::live) {
        (void)folder.ask_to_stop(StopCause::cancel);
        log_.warning("a run outside the agent that the ledger does not know is stopped",
                     {{"folder", path.string()}});
        live.push_back(folder);
        continue;
      }
      if (*stage == OutlivingStage::lost) stop_stray(folder);
    }
    folder.remove();
  }
  await_strays(std::move(live));
}

std::vector<std::filesystem::path> Runner::Body::folders_of_nobody() const {
  std::vector<std::filesystem::path> found;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(options_.spool_folder, failed), last;
       !failed && entry != last; entry.increment(failed)) {
    const auto kind = entry->path().extension();
    if (kind == OutlivingFolder::kSuffix || kind == OutlivingFolder::kPrepared ||
        OutlivingFolder(entry->path()).is_removed())
      found.push_back(entry->path());
  }
  const std::scoped_lock lock(mutex_);
  std::erase_if(found, [&](const auto& path) {
    return std::any_of(active_.begin(), active_.end(), [&](const auto& one) {
      return one.second->folder && one.second->folder->path() == path;
    });
  });
  return found;
}

void Runner::Body::stop_stray(const OutlivingFolder& folder) {
  const auto request = folder.request();
  const std::vector<std::string> marks = {request ? request->run_id : std::string()};
  const std::vector<std::filesystem::path> records = {folder.processes()};
  (void)supervisor_.stop_marked(marks, options_.grace, records);
}

/// Nothing starts before they have ended: the same work may be waiting, and must not run beside them.
void Runner::Body::await_strays(std::vector<OutlivingFolder> live) {
  const auto until = steady_clock::now() + kStopsWithin;
  while (!live.empty() && !is_stopping()) {
    std::erase_if(live, [](const OutlivingFolder& folder) {
      const auto stage = folder.stage();
      if (!stage || !is_settled(*stage)) return false;
      folder.remove();
      return true;
    });
    if (live.empty()) return;
    if (steady_clock::now() >= until) break;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLastLook, [&] { return stopping_; });
  }
  // Their recorders do not do their work. Their folders are looked at again by the next start.
  for (const auto& folder : live) stop_stray(folder);
}

}  // namespace agenttask::agent
