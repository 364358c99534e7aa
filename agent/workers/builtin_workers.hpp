#pragma once
#include <memory>

#include "agent/workers/task_worker.hpp"

namespace agenttask::os {
class ProcessSupervisor;
}

namespace agenttask::agent {

/// `echo`: its result's data is the task's data, the same JSON value.
[[nodiscard]] std::unique_ptr<TaskWorker> make_echo_worker();

/// `command`: a shell line (`cmd`) or `argv` without a shell, in a process tree of its own. The result's data
/// has `exitCode`, or `signal` (a number) and `signalName`, `durationMs`, `stdoutBytes`, `stderrBytes`,
/// `truncated`, `timedOut`, `survivors`; the output itself is kept as chunks beside it. Success is exit code
/// 0 alone. Where a choice was made, AGENTTASK_OPTION in its environment has the option's name. `supervisor`
/// outlives it.
[[nodiscard]] std::unique_ptr<TaskWorker> make_command_worker(os::ProcessSupervisor& supervisor);

}  // namespace agenttask::agent
