#include <algorithm>

#include <nlohmann/json.hpp>

#include "agent/runner/runner_body.hpp"
#include "platform/os/process.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

std::vector<std::string> describe(const std::vector<os::ProcessInfo>& processes) {
  std::vector<std::string> texts;
  texts.reserve(processes.size());
  for (const auto& process : processes) texts.push_back(std::to_string(process.pid));
  return texts;
}

std::string interrupted_result(const Spool* standard_output, const Spool* standard_error,
                               const std::vector<std::string>& survivors, const std::string& detail) {
  nlohmann::json pids = nlohmann::json::array();
  for (const auto& pid : survivors) pids.push_back({{"pid", std::stoll(pid)}});
  const auto total = [](const Spool* spool) { return spool == nullptr ? 0 : spool->total(); };
  const auto cut = [](const Spool* spool) { return spool != nullptr && spool->truncated(); };
  return encode_json({{"success", false},
                      {"data",
                       {{"stdoutBytes", total(standard_output)},
                        {"stderrBytes", total(standard_error)},
                        {"truncated", cut(standard_output) || cut(standard_error)},
                        {"timedOut", false},
                        {"survivors", std::move(pids)}}},
                      {"error", {{"code", reason::kInterrupted}, {"message", detail}}}});
}

}  // namespace

Result<void> Runner::Body::recover() {
  const auto runs = ledger_.open_runs();
  if (!runs) return runs.error();
  std::vector<std::string> ids;
  for (const OpenRun& run : *runs) ids.push_back(run.run_id);
  bool something_survived = false;
  if (!ids.empty()) {
    const auto stopped = supervisor_.stop_marked(ids, options_.grace);
    log_.info(
        "runs were cut off; what was left of them is stopped",
        {{"runs", ids.size()}, {"found", stopped.found.size()}, {"survivors", stopped.survivors.size()}});
    something_survived = !stopped.survivors.empty();
  }
  for (const OpenRun& run : *runs) {
    std::vector<std::string> survivors;
    if (something_survived) {
      // All were stopped together above; here only to say of which run something is left.
      const std::vector<std::string> own = {run.run_id};
      survivors = describe(supervisor_.stop_marked(own, std::chrono::milliseconds(0)).survivors);
    }
    if (auto ended = end_interrupted(run, survivors); !ended) {
      note_problem(ended.error());
      return {};
    }
  }
  recovered_ = true;
  return {};
}

Result<void> Runner::Body::end_interrupted(const OpenRun& run, const std::vector<std::string>& survivors) {
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
  const auto ended = ledger_.end(run.task_id, run.number, outcome, kept_output_of(out, err));
  if (!ended) return ended.error();
  log_.warning("run interrupted", {{"task", run.task_id}, {"run", run.number}});
  remove_spool(run.task_id);
  return {};
}

}  // namespace agenttask::agent
