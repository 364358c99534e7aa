#pragma once
#include <span>
#include <string>
#include <vector>

#include "agent/workers/task_worker.hpp"
#include "agent/workers/workers_folder.hpp"

namespace agenttask::agent {

/// What keeps a new task from running as the workers of this device are now, for whoever adds it: no worker
/// for its type, no service, data that does not fit. It is taken all the same: the workers may change before
/// it runs. Empty: nothing that is known.
[[nodiscard]] std::vector<std::string> concerns_about(const TaskSpec& task, const WorkerRegistry& registry,
                                                      std::span<const WorkerDescription> workers);

}  // namespace agenttask::agent
