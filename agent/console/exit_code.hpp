#pragma once
#include <string>

#include "agent/console/task_view.hpp"

namespace agenttask::console {

// Exit codes (contract section 10). A command's own code passes through; these are AgentTask's.
constexpr int kSuccess = 0;
constexpr int kTimedOut = 124;
constexpr int kFailure = 125;
constexpr int kSignalBase = 128;
constexpr int kInterrupted = 130;  ///< cancelled by Ctrl-C: 128 + SIGINT
constexpr int kNobodyReads = 141;  ///< standard output was closed: 128 + SIGPIPE, as programs in a pipe end

/// What a task's end means for the exit code, and what to tell the user.
struct Conclusion {
  int exit_code = kSuccess;
  std::string message;  ///< for standard error; empty where the command's own output says enough
};

/// `cancelled_here`: this call asked for the cancel.
[[nodiscard]] Conclusion conclude(const TaskView& view, bool cancelled_here);
/// The same of one run of a task that may go on.
[[nodiscard]] Conclusion conclude_run(const RunView& view, const Task& task);

}  // namespace agenttask::console
