#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/process_result.hpp"
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
    context_.output(to_run_stream(stream), bytes);
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

class CommandWorker final : public TaskWorker {
 public:
  explicit CommandWorker(os::ProcessSupervisor& supervisor) : supervisor_(supervisor) {}

  [[nodiscard]] Result<void> check_data(const TaskSpec& task) const override {
    const auto data = parse_command_data(task.data);
    if (!data) return data.error();
    if (auto process = to_process(*data); !process) return process.error();
    return {};
  }

  [[nodiscard]] Result<Validation> validate(const Task& task, std::stop_token) const override {
    if (auto fits = check_data(task.spec); !fits) return fits.error();
    return Validation{};
  }

  [[nodiscard]] bool validates_at_once() const override { return true; }
  [[nodiscard]] WorkResult execute(RunContext& context, const Task& task) const override {
    const auto data = parse_command_data(task.spec.data);
    if (!data) return not_started(data.error(), context);
    auto process = to_process(*data);
    if (!process) return not_started(process.error(), context);
    if (auto completed = complete_environment(*process); !completed)
      return not_started(completed.error(), context);
    process->run_id = context.run_id();
    process->record = context.process_record();
    if (task.state.chosen) process->own_environment[os::kOptionVariable] = task.state.chosen->option;
    RunOutput observer(context);
    const auto outcome = supervisor_.run(*process, context.stop(), observer);
    if (!outcome) return not_started(outcome.error(), context);
    return judge(*outcome, context, task.spec);
  }

 private:
  static WorkResult judge(const os::ProcessOutcome& outcome, const RunContext& context,
                          const TaskSpec& task) {
    if (auto stopped = judge_stop(outcome, context, task.options.timeout)) return std::move(*stopped);
    WorkResult result;
    result.data = encode_json(process_facts(outcome, context, false));
    result.nothing_survives = outcome.survivors.empty();
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
