#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

/// Why a run is asked to stop.
enum class StopCause : std::uint8_t { none, timeout, cancel, shutdown };

/// What a worker may use while it runs. Threads: the run's own thread, and any that the worker starts and
/// joins.
class RunContext {
 public:
  virtual ~RunContext() = default;
  /// Marks every process that the run starts, so that they are found after a crash of the agent.
  [[nodiscard]] virtual const std::string& run_id() const = 0;
  /// Requested at the timeout, on cancel and on shutdown: end soon, with what there is so far.
  /// The file in which the run's processes are noted down (see os::ProcessSpec::record); empty: none is kept.
  [[nodiscard]] virtual std::filesystem::path process_record() const { return {}; }
  [[nodiscard]] virtual std::stop_token stop() const = 0;
  [[nodiscard]] virtual StopCause stop_cause() const = 0;
  /// Takes output of the run: kept up to a bound, all of it counted, never blocks on who watches.
  virtual void output(OutputStream stream, std::string_view bytes) = 0;
  /// How many bytes came out of a stream so far, and whether not all of them are kept.
  struct OutputCount {
    std::int64_t bytes = 0;
    bool truncated = false;
  };
  [[nodiscard]] virtual OutputCount count(OutputStream stream) const = 0;
};

/// What a worker did.
struct WorkResult {
  RunStatus status = RunStatus::complete;  ///< complete, failed or cancelled
  std::string reason;            ///< of a failure: exit-status, timeout, interrupted, worker-error, …
  std::string detail;            ///< for people
  std::string data = "{}";       ///< JSON text: `data` of the task's result
  bool nothing_survives = true;  ///< false: processes of the run could not be stopped
};

/// One kind of work. Threads: methods are called from several runs at once.
class TaskWorker {
 public:
  virtual ~TaskWorker() = default;
  /// Whether the task may run now. False: ask again later. `invalid`: it never can, its data is wrong.
  [[nodiscard]] virtual Result<bool> validate(const TaskSpec& task) const = 0;
  /// Does it. May throw: that is a `worker-error` of this run alone.
  [[nodiscard]] virtual WorkResult execute(RunContext& context, const TaskSpec& task) const = 0;
};

/// Workers by type. Filled in main before anything runs, read by many threads afterwards.
class WorkerRegistry {
 public:
  /// `conflict` when the type is taken.
  [[nodiscard]] Result<void> add(std::string type, std::unique_ptr<TaskWorker> worker);
  /// Null where no worker is known.
  [[nodiscard]] const TaskWorker* find(std::string_view type) const;
  [[nodiscard]] std::vector<std::string> types() const;

 private:
  std::map<std::string, std::unique_ptr<TaskWorker>, std::less<>> workers_;
};

}  // namespace agenttask::agent
