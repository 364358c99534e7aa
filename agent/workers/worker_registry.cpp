#include <utility>

#include "agent/workers/task_worker.hpp"

namespace agenttask::agent {

std::string_view to_string(StopCause cause) {
  switch (cause) {
    case StopCause::none:
      return "none";
    case StopCause::timeout:
      return "timeout";
    case StopCause::cancel:
      return "cancel";
    case StopCause::replaced:
      return "replaced";
    case StopCause::shutdown:
      return "shutdown";
  }
  return "none";
}

DurationMilliseconds run_limit(const TaskSpec& task, const TaskWorker& worker) {
  const DurationMilliseconds longest = worker.longest_run(task);
  const DurationMilliseconds asked = task.options.timeout;
  if (longest <= 0) return asked;
  return asked <= 0 || longest < asked ? longest : asked;
}

Result<void> WorkerRegistry::add(std::string type, std::shared_ptr<const TaskWorker> worker) {
  const std::scoped_lock lock(mutex_);
  const auto [place, added] = built_in_.try_emplace(std::move(type), std::move(worker));
  if (added) return {};
  return Error{ErrorCode::conflict, "there is a worker for tasks of type " + place->first + " already"};
}

void WorkerRegistry::set_external(Workers workers, std::shared_ptr<const WorkerServices> services) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(workers, [&](const auto& entry) { return built_in_.contains(entry.first); });
  external_.swap(workers);
  services_ = services != nullptr ? std::move(services) : std::make_shared<const WorkerServices>();
}

std::shared_ptr<const WorkerServices> WorkerRegistry::services() const {
  const std::scoped_lock lock(mutex_);
  return services_;
}

std::shared_ptr<const TaskWorker> WorkerRegistry::find(std::string_view type) const {
  const std::scoped_lock lock(mutex_);
  for (const Workers* workers : {&built_in_, &external_}) {
    if (const auto found = workers->find(type); found != workers->end()) return found->second;
  }
  return nullptr;
}

std::vector<std::string> WorkerRegistry::types() const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::string> types;
  for (const auto& [type, worker] : built_in_) types.push_back(type);
  for (const auto& [type, worker] : external_) types.push_back(type);
  return types;
}

}  // namespace agenttask::agent
