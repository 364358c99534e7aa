#include "agent/workers/process_result.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/error_text.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {

OutputStream to_run_stream(os::OutputStream stream) {
  return stream == os::OutputStream::standard_output ? OutputStream::standard_output
                                                     : OutputStream::standard_error;
}

Result<void> complete_environment(os::ProcessSpec& process) {
  auto environment = os::clean_environment(process.run_as);
  if (!environment) return environment.error();
  os::add_variables(*environment, process.environment);
  process.environment = std::move(*environment);
  return {};
}

nlohmann::json output_facts(const os::ProcessOutcome& outcome, const RunContext& context) {
  const auto out = context.count(OutputStream::standard_output);
  const auto err = context.count(OutputStream::standard_error);
  return {{"durationMs", outcome.duration.count()},
          {"stdoutBytes", out.bytes},
          {"stderrBytes", err.bytes},
          {"truncated", out.truncated || err.truncated}};
}

nlohmann::json process_facts(const os::ProcessOutcome& outcome, const RunContext& context, bool timed_out) {
  nlohmann::json data = output_facts(outcome, context);
  data["timedOut"] = timed_out;
  data["survivors"] = nlohmann::json::array();
  if (outcome.exit_code) data["exitCode"] = *outcome.exit_code;
  if (outcome.signal_number) {
    data["signal"] = *outcome.signal_number;
    data["signalName"] = outcome.signal_name;
  }
  for (const auto& survivor : outcome.survivors) {
    // A command line is bytes; JSON is text.
    const auto& command = survivor.command;
    data["survivors"].push_back(
        {{"pid", survivor.pid},
         {"command", is_utf8(command) ? command : "base64:" + base64_encode(command)}});
  }
  return data;
}

WorkResult not_started(const Error& error, const RunContext& context) {
  WorkResult result;
  result.status = RunStatus::failed;
  result.reason = error.code == ErrorCode::invalid || error.code == ErrorCode::unsupported
                      ? reason::kInvalid
                      : reason::kWorkerError;
  // People know `argv` as a member of a command's data alone; the message names the program.
  result.detail = error.field == "argv" ? error.message : with_field(error.field, error.message);
  result.data = encode_json(process_facts(os::ProcessOutcome{}, context, false));
  return result;
}

WorkResult failed_by_itself(const os::ProcessOutcome& outcome, const RunContext& context, std::string code,
                            std::string detail, const std::string& details) {
  WorkResult result;
  result.status = RunStatus::failed;
  result.reason = reason::kWorkerError;
  result.code = std::move(code);
  result.detail = std::move(detail);
  nlohmann::json data = process_facts(outcome, context, false);
  if (auto more = parse_json(details, limits::kJsonDepth + 4); !details.empty() && more)
    data["details"] = std::move(*more);
  result.data = encode_json(data);
  result.nothing_survives = outcome.survivors.empty();
  return result;
}

std::string describe_end(const os::ProcessOutcome& outcome) {
  if (outcome.exit_code) return "exit code " + std::to_string(*outcome.exit_code);
  if (outcome.signal_number) return "ended by " + outcome.signal_name;
  return "not started";
}

std::optional<WorkResult> judge_stop(const os::ProcessOutcome& outcome, const RunContext& context,
                                     DurationMilliseconds limit) {
  // What a stop means depends on why it was asked for, and counts only where it came before the end.
  const StopCause cause = outcome.stopped ? context.stop_cause() : StopCause::none;
  if (cause == StopCause::none) return std::nullopt;
  WorkResult result;
  result.status = RunStatus::failed;
  result.data = encode_json(process_facts(outcome, context, cause == StopCause::timeout));
  result.nothing_survives = outcome.survivors.empty();
  switch (cause) {
    case StopCause::none:
      break;
    case StopCause::cancel:
      result.status = RunStatus::cancelled;
      result.detail = "stopped because it was cancelled; " + describe_end(outcome);
      break;
    case StopCause::replaced:
      result.status = RunStatus::cancelled;
      result.detail = "stopped because the next occurrence was due; " + describe_end(outcome);
      break;
    case StopCause::timeout:
      result.reason = reason::kTimeout;
      result.detail = "stopped after " + std::to_string(limit) + " ms (options.timeout)";
      break;
    case StopCause::shutdown:
      result.reason = reason::kInterrupted;
      result.detail = "stopped because the agent was shut down; " + describe_end(outcome);
      break;
  }
  return result;
}

}  // namespace agenttask::agent
