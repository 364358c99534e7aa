#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/builtin_workers.hpp"
#include "platform/base/encoding.hpp"
#include "platform/base/error_text.hpp"
#include "platform/os/process.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

/// Passes the output of a process on to the run.
class RunOutput final : public os::ProcessObserver {
 public:
  explicit RunOutput(RunContext& context) : context_(context) {}
  void started(std::int64_t) override {}
  void output(os::OutputStream stream, std::string_view bytes) override {
    context_.output(stream == os::OutputStream::standard_output ? OutputStream::standard_output
                                                                : OutputStream::standard_error,
                    bytes);
  }

 private:
  RunContext& context_;
};

Result<os::ProcessSpec> to_process(const CommandData& data) {
  os::ProcessSpec process;
  if (data.cmd.empty()) {
    process.argv = data.argv;
  } else {
    auto argv = os::shell_command(data.cmd, data.shell);
    if (!argv) return argv.error();
    process.argv = std::move(*argv);
  }
  os::Environment added(data.env.begin(), data.env.end());
  if (auto checked = os::check_environment(added); !checked) return checked.error();
  process.environment = std::move(added);
  process.cwd = data.cwd;
  process.standard_input = data.stdin_text;
  process.run_as = data.run_as;
  return process;
}

/// Puts the user's own variables under those that the task adds.
Result<void> complete_environment(os::ProcessSpec& process) {
  auto environment = os::clean_environment(process.run_as);
  if (!environment) return environment.error();
  for (auto& [name, value] : process.environment) (*environment)[name] = std::move(value);
  process.environment = std::move(*environment);
  return {};
}

nlohmann::json to_data(const os::ProcessOutcome& outcome, const RunContext& context, bool timed_out) {
  const auto out = context.count(OutputStream::standard_output);
  const auto err = context.count(OutputStream::standard_error);
  nlohmann::json data = {{"durationMs", outcome.duration.count()},
                         {"stdoutBytes", out.bytes},
                         {"stderrBytes", err.bytes},
                         {"truncated", out.truncated || err.truncated},
                         {"timedOut", timed_out},
                         {"survivors", nlohmann::json::array()}};
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

/// A run that nothing could be started for.
WorkResult not_started(const Error& error, const RunContext& context) {
  WorkResult result;
  result.status = RunStatus::failed;
  result.reason = error.code == ErrorCode::invalid || error.code == ErrorCode::unsupported
                      ? reason::kInvalid
                      : reason::kWorkerError;
  result.detail = with_field(error.field, error.message);
  result.data = encode_json(to_data(os::ProcessOutcome{}, context, false));
  return result;
}

std::string describe_end(const os::ProcessOutcome& outcome) {
  if (outcome.exit_code) return "exit code " + std::to_string(*outcome.exit_code);
  if (outcome.signal_number) return "ended by " + outcome.signal_name;
  return "not started";
}

class CommandWorker final : public TaskWorker {
 public:
  explicit CommandWorker(os::ProcessSupervisor& supervisor) : supervisor_(supervisor) {}

  [[nodiscard]] Result<bool> validate(const TaskSpec& task) const override {
    const auto data = parse_command_data(task.data);
    if (!data) return data.error();
    if (auto process = to_process(*data); !process) return process.error();
    return true;
  }

  [[nodiscard]] WorkResult execute(RunContext& context, const TaskSpec& task) const override {
    const auto data = parse_command_data(task.data);
    if (!data) return not_started(data.error(), context);
    auto process = to_process(*data);
    if (!process) return not_started(process.error(), context);
    if (auto completed = complete_environment(*process); !completed)
      return not_started(completed.error(), context);
    process->run_id = context.run_id();
    process->record = context.process_record();
    RunOutput observer(context);
    const auto outcome = supervisor_.run(*process, context.stop(), observer);
    if (!outcome) return not_started(outcome.error(), context);
    return judge(*outcome, context, task);
  }

 private:
  /// What a stop means depends on why it was asked for, and counts only where it came before the process
  /// ended.
  static WorkResult judge(const os::ProcessOutcome& outcome, const RunContext& context,
                          const TaskSpec& task) {
    const StopCause cause = outcome.stopped ? context.stop_cause() : StopCause::none;
    WorkResult result;
    result.data = encode_json(to_data(outcome, context, cause == StopCause::timeout));
    result.nothing_survives = outcome.survivors.empty();
    switch (cause) {
      case StopCause::cancel:
        result.status = RunStatus::cancelled;
        result.detail = "stopped because it was cancelled; " + describe_end(outcome);
        return result;
      case StopCause::timeout:
        result.status = RunStatus::failed;
        result.reason = reason::kTimeout;
        result.detail = "stopped after " + std::to_string(task.options.timeout) + " ms (options.timeout)";
        return result;
      case StopCause::shutdown:
        result.status = RunStatus::failed;
        result.reason = reason::kInterrupted;
        result.detail = "stopped because the agent was shut down; " + describe_end(outcome);
        return result;
      case StopCause::none:
        break;
    }
    if (outcome.exit_code == 0) return result;
    result.status = RunStatus::failed;
    result.reason = reason::kExitStatus;
    result.detail = describe_end(outcome);
    return result;
  }

  os::ProcessSupervisor& supervisor_;
};

}  // namespace

std::unique_ptr<TaskWorker> make_command_worker(os::ProcessSupervisor& supervisor) {
  return std::make_unique<CommandWorker>(supervisor);
}

}  // namespace agenttask::agent
