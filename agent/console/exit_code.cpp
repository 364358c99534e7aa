#include "agent/console/exit_code.hpp"

#include "agent/console/time_text.hpp"

namespace agenttask::console {
namespace {

Conclusion conclude_failed(const TaskView& view) {
  const RunResult& result = view.result;
  const TaskState& state = view.task.state;
  const std::string why = !result.message.empty() ? result.message
                          : !state.detail.empty() ? state.detail
                                                  : "no reason was given";
  if (state.reason == reason::kTimeout) {
    return {kTimedOut, "timed out after " + format_duration(view.task.spec.options.timeout) +
                           "; --timeout allows more time"};
  }
  if (state.reason == reason::kExitStatus) {
    if (result.signal) return {kSignalBase + *result.signal, why};
    if (result.exit_code && *result.exit_code != 0) return {*result.exit_code & 0xFF, {}};
    return {kFailure, "failed: " + why};
  }
  if (state.reason == reason::kRejected) return {kFailure, "refused by the device's policy: " + why};
  return {kFailure,
          (state.reason.empty() ? std::string("failed: ") : "failed (" + state.reason + "): ") + why};
}

}  // namespace

Conclusion conclude(const TaskView& view, bool cancelled_here) {
  const std::string& id = view.task.spec.id;
  switch (view.task.state.status) {
    case TaskStatus::complete:
      return {view.result.exit_code.value_or(kSuccess) & 0xFF, {}};
    case TaskStatus::failed:
      return conclude_failed(view);
    case TaskStatus::cancelled:
      if (cancelled_here) return {kInterrupted, "cancelled"};
      return {kFailure, "task " + id + " was cancelled"};
    default:
      break;
  }
  return {kFailure, "task " + id + " has not ended"};
}

}  // namespace agenttask::console
