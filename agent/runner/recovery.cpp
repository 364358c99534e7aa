#include <utility>

#include "agent/runner/interrupted.hpp"
#include "agent/runner/runner_body.hpp"
#include "agent/runner/survivors.hpp"
#include "platform/os/host.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {
Result<void> Runner::Body::recover() {
  auto runs = ledger_.open_runs();
  if (!runs) return runs.error();
  if (const auto adopted = adopt_all(*runs); !adopted) {
    note_problem(adopted.error());
    return {};
  }
  const std::string boot = os::boot_id();
  std::vector<std::string> ids;
  std::vector<std::filesystem::path> records;
  for (const OpenRun& run : *runs) {
    ids.push_back(run.run_id);
    if (run.boot_id == boot) records.push_back(process_record(run));
  }
  if (auto stopped = stop_checks(); !stopped) return stopped;
  std::vector<os::ProcessInfo> left;
  if (!ids.empty()) {
    auto stopped = supervisor_.stop_marked(ids, options_.grace, records);
    log_.info(
        "runs were cut off; what was left of them is stopped",
        {{"runs", ids.size()}, {"found", stopped.found.size()}, {"survivors", stopped.survivors.size()}});
    left = std::move(stopped.survivors);
  }
  std::vector<std::vector<os::ProcessInfo>> survivors(runs->size());
  for (std::size_t i = 0; !left.empty() && i < runs->size(); ++i) {
    // All were stopped together above; here only to say of which run something is left.
    const OpenRun& run = (*runs)[i];
    const std::vector<std::string> own = {run.run_id};
    std::vector<std::filesystem::path> record;
    if (run.boot_id == boot) record.push_back(process_record(run));
    survivors[i] = supervisor_.stop_marked(own, std::chrono::milliseconds(0), record).survivors;
  }
  share_unclaimed(left, survivors);
  for (std::size_t i = 0; i < runs->size(); ++i) {
    if (auto ended = end_interrupted((*runs)[i], survivors[i]); !ended) {
      note_problem(ended.error());
      return {};
    }
  }
  stop_unknown();
  remove_strays();
  // None of our own is under way: what a crash after an end left here is nobody's any more.
  std::error_code ignored;
  for (std::filesystem::directory_iterator file(options_.spool_folder, ignored), last;
       !ignored && file != last; file.increment(ignored)) {
    std::error_code kept;
    if (file->is_regular_file(kept)) std::filesystem::remove(file->path(), kept);
  }
  recovered_ = true;
  return {};
}

/// What was begun outside our service may go on, or have ended by itself; `runs` keeps the others.
Result<void> Runner::Body::adopt_all(std::vector<OpenRun>& runs) {
  bool any = false;
  for (auto run = runs.begin(); run != runs.end();) {
    const Result<bool> adopted = run->outside ? adopt(*run) : Result<bool>(false);
    if (!adopted) return adopted.error();
    any = any || *adopted;
    run = *adopted ? runs.erase(run) : std::next(run);
  }
  if (!any) return {};
  // What was asked between the look and the following was told to nobody who knew the run.
  const auto again = ledger_.open_runs();
  if (!again) return again.error();
  for (const OpenRun& run : *again) {
    if (run.outside && run.cancelled) (void)stop_run(run.task_id, StopCause::cancel);
    if (run.outside && run.replaced) (void)stop_run(run.task_id, StopCause::replaced);
  }
  return {};
}

/// Runs of which the ledger does not know: it was begun anew, or saved from a damaged one. Their records are
/// all that is left to find their processes by. Those of another boot name nobody who is still there.
void Runner::Body::stop_unknown() {
  namespace fs = std::filesystem;
  using std::chrono::file_clock;
  const auto began = std::chrono::sys_time<std::chrono::milliseconds>(
      std::chrono::milliseconds(clock_.wall() - clock_.since_boot()));
  std::vector<fs::path> records;
  std::error_code failed;
  for (fs::directory_iterator file(options_.spool_folder, failed), last; !failed && file != last;
       file.increment(failed)) {
    std::error_code gone;
    if (file->path().extension() != ".processes" || !file->is_regular_file(gone)) continue;
    const auto written = file->last_write_time(gone);
    if (!gone && file_clock::to_sys(written) >= began) records.push_back(file->path());
  }
  if (records.empty()) return;
  const auto stopped = supervisor_.stop_marked({}, options_.grace, records);
  if (stopped.found.empty() && stopped.survivors.empty()) return;
  log_.warning("processes of runs that the ledger does not know are stopped",
               {{"found", stopped.found.size()}, {"survivors", stopped.survivors.size()}});
}

/// A worker was perhaps asked whether a task may run when the agent was killed: nobody waits for the answer.
Result<void> Runner::Body::stop_checks() {
  constexpr std::size_t kMostReady =
      1000;  // those that are looked at first are the ones that were asked about
  const auto ready = ledger_.ready(std::nullopt, kMostReady);
  if (!ready) return ready.error();
  std::vector<std::string> marks;
  for (const ReadyTask& task : *ready) marks.push_back(check_mark(task.id));
  if (!marks.empty()) (void)supervisor_.stop_marked(marks, std::chrono::milliseconds(0), {});
  return {};
}

Result<void> Runner::Body::end_interrupted(const OpenRun& run,
                                           const std::vector<os::ProcessInfo>& survivors) {
  const auto folder = OutlivingFolder::of(options_.spool_folder, run.task_id, run.run_id);
  const auto file = [&](OutputStream stream) {
    return run.outside ? folder.stream(stream) : spool_file(run.task_id, stream);
  };
  auto standard_output = Spool::reopen(file(OutputStream::standard_output));
  auto standard_error = Spool::reopen(file(OutputStream::standard_error));
  Spool* out = standard_output ? standard_output->get() : nullptr;
  Spool* err = standard_error ? standard_error->get() : nullptr;
  std::string detail = "the agent or the machine stopped while it ran";
  if (run.outside) {
    const auto stage = folder.stage();
    const bool begun = !stage || *stage == OutlivingStage::lost;
    detail = begun ? kRecorderLost : kNotBegun;
  }
  const auto count = [](const Spool* spool) {
    return spool == nullptr ? RunContext::OutputCount{}
                            : RunContext::OutputCount{spool->total(), spool->truncated()};
  };
  const RunOutcome outcome = interrupted_outcome(count(out), count(err), survivors, std::move(detail));
  const auto ended = end_run(run.task_id, run.number, outcome, [&] { return kept_output_of(out, err); });
  if (!ended) return ended.error();
  log_.warning("run interrupted", {{"task", run.task_id}, {"run", run.number}});
  run.outside ? folder.remove() : remove_spool(run.task_id);
  return {};
}

}  // namespace agenttask::agent
