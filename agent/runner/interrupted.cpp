#include "agent/runner/interrupted.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"

namespace agenttask::agent {

RunOutcome interrupted_outcome(RunContext::OutputCount standard_output,
                               RunContext::OutputCount standard_error,
                               const std::vector<os::ProcessInfo>& survivors, std::string detail) {
  RunOutcome outcome;
  outcome.status = RunStatus::failed;
  outcome.reason = reason::kInterrupted;
  outcome.detail = std::move(detail);
  outcome.may_rerun = survivors.empty();
  if (!survivors.empty()) outcome.detail += "; some of its processes could not be stopped";
  nlohmann::json left = nlohmann::json::array();
  for (const auto& process : survivors) left.push_back({{"pid", process.pid}, {"command", process.command}});
  outcome.result = encode_json({{"success", false},
                                {"data",
                                 {{"stdoutBytes", standard_output.bytes},
                                  {"stderrBytes", standard_error.bytes},
                                  {"truncated", standard_output.truncated || standard_error.truncated},
                                  {"timedOut", false},
                                  {"survivors", std::move(left)}}},
                                {"error", {{"code", reason::kInterrupted}, {"message", outcome.detail}}}});
  return outcome;
}

}  // namespace agenttask::agent
