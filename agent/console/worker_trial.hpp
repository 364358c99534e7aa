#pragma once
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/workers/run_wishes.hpp"
#include "agent/workers/task_worker.hpp"
#include "platform/os/system_clock.hpp"

/// A run of a worker with no agent: what it asks for is collected, nothing is applied.
namespace agenttask::console {

/// A device that has one task: the one that is tried.
class LoneTask final : public agent::TaskReader {
 public:
  explicit LoneTask(const Task& task) : task_(task) {}
  [[nodiscard]] Result<Task> get(std::string_view id) override;
  [[nodiscard]] Result<agent::TaskPage> list(const agent::TaskFilter& filter,
                                             std::optional<std::int64_t> cursor, std::size_t most) override;
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view room_id,
                                                          std::size_t most) override;

 private:
  const Task& task_;
};

/// The run. Threads: as RunContext; ask_to_stop from any.
class WorkerTrial final : public agent::RunContext {
 public:
  using Print = std::function<void(OutputStream stream, std::string_view bytes)>;
  /// `task` outlives it.
  WorkerTrial(const Task& task, Print print);

  [[nodiscard]] const std::string& run_id() const override { return run_id_; }
  [[nodiscard]] std::stop_token stop() const override { return stop_.get_token(); }
  [[nodiscard]] agent::StopCause stop_cause() const override;
  void output(OutputStream stream, std::string_view bytes) override;
  [[nodiscard]] OutputCount count(OutputStream stream) const override;
  [[nodiscard]] std::int64_t run_number() const override { return 1; }
  [[nodiscard]] agent::RunWishes& wishes() override { return wishes_; }
  void progress(std::string_view text) override;

  /// The first cause counts.
  void ask_to_stop(agent::StopCause cause);
  [[nodiscard]] std::vector<std::string> progress_made() const;

  /// Does the work, stopped at `limit` ms (0: never).
  [[nodiscard]] agent::WorkResult run(const agent::TaskWorker& worker, DurationMilliseconds limit);

 private:
  const Task& task_;
  const Print print_;
  const os::SystemClock clock_;  ///< before the rest: its time goes into the id
  const std::string run_id_;
  LoneTask reader_;
  agent::RunWishes wishes_;
  std::stop_source stop_;
  mutable std::mutex mutex_;
  agent::StopCause cause_ = agent::StopCause::none;
  OutputCount counts_[2];
  std::vector<std::string> progress_;
};

}  // namespace agenttask::console
