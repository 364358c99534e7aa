#pragma once
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/workers/task_worker.hpp"
#include "platform/base/error.hpp"
#include "platform/os/process.hpp"

/// What the end of a process says about the run that it did, for all workers that are processes.
namespace agenttask::agent {

[[nodiscard]] OutputStream to_run_stream(os::OutputStream stream);

/// Puts the user's own variables under those that the task or manifest adds.
[[nodiscard]] Result<void> complete_environment(os::ProcessSpec& process);

/// `exitCode`, or `signal` and `signalName`, `durationMs`, `stdoutBytes`, `stderrBytes`, `truncated`,
/// `timedOut`, `survivors`.
[[nodiscard]] nlohmann::json process_facts(const os::ProcessOutcome& outcome, const RunContext& context,
                                           bool timed_out);

/// `durationMs`, `stdoutBytes`, `stderrBytes`, `truncated`: beside the data of a worker that has its own.
[[nodiscard]] nlohmann::json output_facts(const os::ProcessOutcome& outcome, const RunContext& context);

/// A run that nothing could be started for.
[[nodiscard]] WorkResult not_started(const Error& error, const RunContext& context);

/// A run of a worker that failed by itself, as `worker-error`. `code`: the worker's own name for it; empty:
/// it gave none. `details`: JSON text of an object, or empty.
[[nodiscard]] WorkResult failed_by_itself(const os::ProcessOutcome& outcome, const RunContext& context,
                                          std::string code, std::string detail,
                                          const std::string& details = "");

/// "exit code 3", "ended by SIGSEGV"
[[nodiscard]] std::string describe_end(const os::ProcessOutcome& outcome);

/// The result of a run that was asked to stop before its process ended; nothing when it ended by itself.
/// `limit`: what the run may take, in ms.
[[nodiscard]] std::optional<WorkResult> judge_stop(const os::ProcessOutcome& outcome,
                                                   const RunContext& context, DurationMilliseconds limit);

}  // namespace agenttask::agent
