#include "agent/console/worker_trial.hpp"

#include <condition_variable>
#include <exception>
#include <thread>
#include <utility>

#include "platform/base/ids.hpp"

namespace agenttask::console {

Result<Task> LoneTask::get(std::string_view id) {
  if (id == task_.spec.id) return task_;
  return Error{ErrorCode::not_found, "there is no task " + std::string(id), "id"};
}

Result<agent::TaskPage> LoneTask::list(const agent::TaskFilter& filter, std::optional<std::int64_t>,
                                       std::size_t) {
  const TaskSpec& spec = task_.spec;
  const bool fits = (filter.type.empty() || filter.type == spec.type) && filter.tags.empty() &&
                    (!filter.status || *filter.status == task_.state.status) &&
                    (filter.room_id.empty() || filter.room_id == spec.room_id) &&
                    (filter.world_id.empty() || filter.world_id == spec.world_id);
  agent::TaskPage page;
  if (fits) page.tasks.push_back(task_);
  return page;
}

Result<std::vector<RoomMessage>> LoneTask::messages(std::string_view, std::size_t) {
  return std::vector<RoomMessage>();
}

WorkerTrial::WorkerTrial(const Task& task, Print print)
    : task_(task),
      print_(std::move(print)),
      run_id_(make_uuid(clock_.wall())),
      reader_(task),
      wishes_(reader_, task, 1, clock_) {}

agent::StopCause WorkerTrial::stop_cause() const {
  const std::scoped_lock lock(mutex_);
  return cause_;
}

void WorkerTrial::output(OutputStream stream, std::string_view bytes) {
  {
    const std::scoped_lock lock(mutex_);
    counts_[static_cast<std::size_t>(stream)].bytes += static_cast<std::int64_t>(bytes.size());
  }
  print_(stream, bytes);
}

agent::RunContext::OutputCount WorkerTrial::count(OutputStream stream) const {
  const std::scoped_lock lock(mutex_);
  return counts_[static_cast<std::size_t>(stream)];
}

void WorkerTrial::progress(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  constexpr std::size_t kMost = 10'000;
  if (progress_.size() < kMost) progress_.emplace_back(text);
}

std::vector<std::string> WorkerTrial::progress_made() const {
  const std::scoped_lock lock(mutex_);
  return progress_;
}

void WorkerTrial::ask_to_stop(agent::StopCause cause) {
  {
    const std::scoped_lock lock(mutex_);
    if (cause_ == agent::StopCause::none) cause_ = cause;
  }
  stop_.request_stop();
}

agent::WorkResult WorkerTrial::run(const agent::TaskWorker& worker, DurationMilliseconds limit) {
  std::jthread timer;
  if (limit > 0) {
    timer = std::jthread([this, limit](const std::stop_token& ended) {
      std::mutex mutex;
      std::condition_variable_any never;
      std::unique_lock lock(mutex);
      never.wait_for(lock, ended, std::chrono::milliseconds(limit), [] { return false; });
      if (!ended.stop_requested()) ask_to_stop(agent::StopCause::timeout);
    });
  }
  try {
    return worker.execute(*this, task_);
  } catch (const std::exception& error) {
    agent::WorkResult result;
    result.status = RunStatus::failed;
    result.reason = reason::kWorkerError;
    result.detail = error.what();
    return result;
  }
}

}  // namespace agenttask::console
