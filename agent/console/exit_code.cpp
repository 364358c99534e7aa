#include "agent/console/exit_code.hpp"

#include "agent/console/time_text.hpp"
#include "platform/os/process.hpp"

namespace agenttask::console {
namespace {

Conclusion conclude_failed(const RunResult& result, const std::string& reason, const std::string& detail,
                           const TaskSpec& spec) {
  const std::string why = !result.message.empty() ? result.message
                          : !detail.empty()       ? detail
                                                  : "no reason was given";
  if (reason == agenttask::reason::kTimeout) {
    return {kTimedOut,
            "timed out after " + format_duration(spec.options.timeout) + "; --timeout allows more time"};
  }
  if (reason == agenttask::reason::kExitStatus) {
    if (result.signal) return {kSignalBase + *result.signal, why};
    if (result.exit_code && *result.exit_code != 0) return {os::exit_code_to_pass_on(*result.exit_code), {}};
    return {kFailure, "failed: " + why};
  }
  if (reason == agenttask::reason::kRejected) return {kFailure, "refused by the device's policy: " + why};
  return {kFailure, (reason.empty() ? std::string("failed: ") : "failed (" + reason + "): ") + why};
}

}  // namespace

Conclusion conclude(const TaskView& view, bool cancelled_here) {
  const std::string& id = view.task.spec.id;
  switch (view.task.state.status) {
    case TaskStatus::complete:
      return {os::exit_code_to_pass_on(view.result.exit_code.value_or(kSuccess)), {}};
    case TaskStatus::failed:
      return conclude_failed(view.result, view.task.state.reason, view.task.state.detail, view.task.spec);
    case TaskStatus::cancelled:
      if (cancelled_here) return {kInterrupted, "cancelled"};
      return {kFailure, "task " + id + " was cancelled"};
    default:
      break;
  }
  return {kFailure, "task " + id + " has not ended"};
}

Conclusion conclude_run(const RunView& view, const Task& task) {
  switch (view.run.status) {
    case RunStatus::complete:
      return {os::exit_code_to_pass_on(view.result.exit_code.value_or(kSuccess)), {}};
    case RunStatus::failed:
      return conclude_failed(view.result, view.run.reason, {}, task.spec);
    case RunStatus::cancelled:
      return {kFailure, "run " + std::to_string(view.run.number) + " was cancelled"};
    case RunStatus::running:
      break;
  }
  return {kFailure, "run " + std::to_string(view.run.number) + " has not ended"};
}

}  // namespace agenttask::console
