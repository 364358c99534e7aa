#include <algorithm>

#include <nlohmann/json.hpp>

#include "agent/runner/runner_body.hpp"
#include "platform/os/host.hpp"
#include "platform/os/process.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

std::string interrupted_result(const Spool* standard_output, const Spool* standard_error,
                               const std::vector<os::ProcessInfo>& survivors, const std::string& detail) {
  nlohmann::json left = nlohmann::json::array();
  for (const auto& process : survivors) left.push_back({{"pid", process.pid}, {"command", process.command}});
  const auto total = [](const Spool* spool) { return spool == nullptr ? 0 : spool->total(); };
  const auto cut = [](const Spool* spool) { return spool != nullptr && spool->truncated(); };
  return encode_json({{"success", false},
                      {"data",
                       {{"stdoutBytes", total(standard_output)},
                        {"stderrBytes", total(standard_error)},
                        {"truncated", cut(standard_output) || cut(standard_error)},
                        {"timedOut", false},
                        {"survivors", std::move(left)}}},
                      {"error", {{"code", reason::kInterrupted}, {"message", detail}}}});
}

}  // namespace

Result<void> Runner::Body::recover() {
  const auto runs = ledger_.open_runs();
  if (!runs) return runs.error();
  const std::string boot = os::boot_id();
  std::vector<std::string> ids;
  std::vector<std::filesystem::path> records;
  for (const OpenRun& run : *runs) {
    ids.push_back(run.run_id);
    if (run.boot_id == boot) records.push_back(process_record(run.task_id));
  }
  if (auto stopped = stop_checks(); !stopped) return stopped;
  bool something_survived = false;
  if (!ids.empty()) {
    const auto stopped = supervisor_.stop_marked(ids, options_.grace, records);
    log_.info(
        "runs were cut off; what was left of them is stopped",
        {{"runs", ids.size()}, {"found", stopped.found.size()}, {"survivors", stopped.survivors.size()}});
    something_survived = !stopped.survivors.empty();
  }
  for (const OpenRun& run : *runs) {
    std::vector<os::ProcessInfo> survivors;
    if (something_survived) {
      // All were stopped together above; here only to say of which run something is left.
      const std::vector<std::string> own = {run.run_id};
      std::vector<std::filesystem::path> record;
      if (run.boot_id == boot) record.push_back(process_record(run.task_id));
      survivors = supervisor_.stop_marked(own, std::chrono::milliseconds(0), record).survivors;
    }
    if (auto ended = end_interrupted(run, survivors); !ended) {
      note_problem(ended.error());
      return {};
    }
  }
  // No run is under way: what a crash after an end left here is nobody's any more.
  std::error_code ignored;
  for (std::filesystem::directory_iterator file(options_.spool_folder, ignored), last;
       !ignored && file != last; file.increment(ignored)) {
    std::error_code kept;
    if (file->is_regular_file(kept)) std::filesystem::remove(file->path(), kept);
  }
  recovered_ = true;
  return {};
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
  auto standard_output = Spool::reopen(spool_file(run.task_id, OutputStream::standard_output));
  auto standard_error = Spool::reopen(spool_file(run.task_id, OutputStream::standard_error));
  Spool* out = standard_output ? standard_output->get() : nullptr;
  Spool* err = standard_error ? standard_error->get() : nullptr;
  RunOutcome outcome;
  outcome.status = RunStatus::failed;
  outcome.reason = reason::kInterrupted;
  outcome.detail = "the agent or the machine stopped while it ran";
  outcome.may_rerun = survivors.empty();
  if (!survivors.empty()) outcome.detail += "; some of its processes could not be stopped";
  outcome.result = interrupted_result(out, err, survivors, outcome.detail);
  const auto ended = end_run(run.task_id, run.number, outcome, [&] { return kept_output_of(out, err); });
  if (!ended) return ended.error();
  log_.warning("run interrupted", {{"task", run.task_id}, {"run", run.number}});
  remove_spool(run.task_id);
  return {};
}

}  // namespace agenttask::agent
