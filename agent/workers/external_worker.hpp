#pragma once
#include <chrono>
#include <memory>

#include "agent/workers/task_worker.hpp"
#include "agent/workers/worker_calls.hpp"
#include "agent/workers/worker_manifest.hpp"

namespace agenttask::os {
class ProcessSupervisor;
}

namespace agenttask::agent {

/// How long the processes of a worker may take for what has no timeout of its own.
struct WorkerTimes {
  std::chrono::milliseconds validate{10'000};
  std::chrono::milliseconds service{30'000};
};

/// The worker of a folder: a process for each check, run, and call of a service, which talks in lines of JSON
/// (docs/workers.md).
///
/// A run succeeds with exit code 0 and no `error` line; its data is what the worker called its result. All
/// else is `worker-error`, with `exitCode` or `signal` and what a command's data has beside.
/// `services`: those that its runs may call. `supervisor` outlives it.
[[nodiscard]] std::shared_ptr<const TaskWorker> make_external_worker(
    std::shared_ptr<const WorkerManifest> manifest, std::shared_ptr<const WorkerServices> services,
    os::ProcessSupervisor& supervisor, WorkerTimes times = {});

}  // namespace agenttask::agent
