#pragma once
#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include "agent/workers/task_worker.hpp"

namespace agenttask::os {
class ProcessSupervisor;
}

namespace agenttask::agent {

/// The types that are the agent's own, whether a device offers them or not: no other worker can have them.
constexpr std::array<std::string_view, 3> kBuiltInTypes{"echo", "command", "service"};
[[nodiscard]] constexpr bool is_built_in(std::string_view type) {
  return std::find(kBuiltInTypes.begin(), kBuiltInTypes.end(), type) != kBuiltInTypes.end();
}

/// `echo`: its result's data is the task's data, the same JSON value.
[[nodiscard]] std::unique_ptr<TaskWorker> make_echo_worker();

/// `command`: a shell line (`cmd`) or `argv` without a shell, in a process tree of its own. The result's data
/// has `exitCode`, or `signal` (a number) and `signalName`, `durationMs`, `stdoutBytes`, `stderrBytes`,
/// `truncated`, `timedOut`, `survivors`; the output itself is kept as chunks beside it. Success is exit code
/// 0 alone. Where a choice was made, AGENTTASK_OPTION in its environment has the option's name. `supervisor`
/// outlives it.
[[nodiscard]] std::unique_ptr<TaskWorker> make_command_worker(os::ProcessSupervisor& supervisor);

/// `service`: calls a service that a worker of this device offers. The result's data is `{"answer":…}`, any
/// JSON value; `output` beside it as of a custom worker. Where no worker offers it the task waits. What a
/// choice was made for goes to the service as `option` in its arguments. Both outlive it.
[[nodiscard]] std::unique_ptr<TaskWorker> make_service_worker(const WorkerRegistry& registry,
                                                              os::ProcessSupervisor& supervisor);

}  // namespace agenttask::agent
