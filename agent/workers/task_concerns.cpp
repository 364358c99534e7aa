#include "agent/workers/task_concerns.hpp"

#include <algorithm>

#include "platform/base/error_text.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

using Names = std::vector<std::string> WorkerDescription::*;

/// Who would be it, and why they are not; else where to look.
std::string refused_one(std::span<const WorkerDescription> workers, Names names, const std::string& name) {
  std::string text = "; agenttask workers lists them";
  for (const WorkerDescription& worker : workers) {
    const auto& list = worker.*names;
    if (worker.problem.empty() || std::find(list.begin(), list.end(), name) == list.end()) continue;
    text = "; the worker " + worker.name + ", which would, is refused: " + worker.problem;
  }
  return text;
}

}  // namespace

std::vector<std::string> concerns_about(const TaskSpec& task, const WorkerRegistry& registry,
                                        std::span<const WorkerDescription> workers) {
  const auto worker = registry.find(task.type);
  if (worker == nullptr) {
    return {"no worker of this device runs " + task.type + ": the task is kept and waits for one" +
            refused_one(workers, &WorkerDescription::types, task.type)};
  }
  if (const auto fits = worker->check_data(task); !fits) {
    const Error& error = fits.error();
    return {"the worker of " + task.type + " does not take this data (" +
            with_field(error.field, error.message) + "): unless that changes, the task fails as invalid"};
  }
  const std::string missing = worker->lacks(task);
  if (missing.empty()) return {};
  const auto call = parse_service_data(task.data);
  return {missing + ": the task is kept and waits for one" +
          refused_one(workers, &WorkerDescription::services, call ? call->service : std::string())};
}

}  // namespace agenttask::agent
