#include <utility>

#include "agent/workers/task_worker.hpp"

namespace agenttask::agent {

Result<void> WorkerRegistry::add(std::string type, std::unique_ptr<TaskWorker> worker) {
  const auto [place, added] = workers_.try_emplace(std::move(type), std::move(worker));
  if (added) return {};
  return Error{ErrorCode::conflict, "there is a worker for tasks of type " + place->first + " already"};
}

const TaskWorker* WorkerRegistry::find(std::string_view type) const {
  const auto found = workers_.find(type);
  return found == workers_.end() ? nullptr : found->second.get();
}

std::vector<std::string> WorkerRegistry::types() const {
  std::vector<std::string> types;
  for (const auto& [type, worker] : workers_) types.push_back(type);
  return types;
}

}  // namespace agenttask::agent
