#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

class RunWishes;
struct WorkerManifest;

/// Why a run is asked to stop.
enum class StopCause : std::uint8_t {
  none,
  timeout,
  cancel,
  replaced,  ///< the next occurrence is due, and the schedule says cancelPrevious
  shutdown,
};
[[nodiscard]] std::string_view to_string(StopCause cause);  ///< timeout, cancel, replaced, shutdown

/// The mark of a process that checks a task before it runs (see os::ProcessSpec::run_id).
[[nodiscard]] std::string check_mark(std::string_view task_id);

/// What a worker may use while it runs. Threads: the run's own thread, and any that the worker starts and
/// joins.
class RunContext {
 public:
  virtual ~RunContext() = default;
  /// Marks every process that the run starts, so that they are found after a crash of the agent.
  [[nodiscard]] virtual const std::string& run_id() const = 0;
  /// The file in which the run's processes are noted down (see os::ProcessSpec::record); empty: none is kept.
  [[nodiscard]] virtual std::filesystem::path process_record() const { return {}; }
  /// Requested at the timeout, on cancel and on shutdown: end soon, with what there is so far.
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
  /// The number of the run, from 1.
  [[nodiscard]] virtual std::int64_t run_number() const = 0;
  /// Tasks and messages as the run sees them, its own wishes included.
  [[nodiscard]] virtual RunWishes& wishes() = 0;
  /// How far it is, for people: shown as the task's detail while it runs. Cheap; what comes more often than
  /// once a second is left out.
  virtual void progress(std::string_view text) = 0;
};

/// What a worker did.
struct WorkResult {
  RunStatus status = RunStatus::complete;  ///< complete, failed or cancelled
  std::string reason;            ///< of a failure: exit-status, timeout, interrupted, worker-error, …
  std::string code;              ///< of a failure: the worker's own name for it; empty: the reason
  std::string detail;            ///< for people
  std::string data = "{}";       ///< JSON text: `data` of the task's result
  bool nothing_survives = true;  ///< false: processes of the run could not be stopped
  /// JSON text: `output` of the task's result, what is known of the run beside `data` that is the worker's
  /// own; empty: nothing.
  std::string output = {};
};

/// The answer to whether a task may run now. An error with `invalid` beside it: it never can, its data is
/// wrong.
struct Validation {
  bool may_run = true;
  std::string detail = {};  ///< why not now, for people
};

/// One kind of work. Threads: methods are called from several runs at once.
class TaskWorker {
 public:
  virtual ~TaskWorker() = default;
  /// Whether the task may run now; `stop` asks for an answer at once.
  [[nodiscard]] virtual Result<Validation> validate(const Task& task, std::stop_token stop) const = 0;
  /// Whether validate() answers without asking anybody, so that it may be called where others wait.
  [[nodiscard]] virtual bool validates_at_once() const { return false; }
  /// Whether its work is nothing but a result that is computed from the task, within microseconds: no
  /// process, no output, no wish, nothing that happens outside. Then start and end of a run are one commit,
  /// and nobody can be killed between them. It is validated at once, too.
  [[nodiscard]] virtual bool only_computes() const { return false; }
  /// That result, where it only computes. May not throw.
  [[nodiscard]] virtual WorkResult compute(const Task&) const { return {}; }
  /// Does it. May throw: that is a `worker-error` of this run alone.
  [[nodiscard]] virtual WorkResult execute(RunContext& context, const Task& task) const = 0;
  /// Whether it can ever run such a task, as far as that is known without asking anybody; the error is what
  /// validate() would end it with.
  [[nodiscard]] virtual Result<void> check_data(const TaskSpec&) const { return {}; }
  /// What else on this device such a task waits for, for people; empty: nothing. It may come and go.
  [[nodiscard]] virtual std::string lacks(const TaskSpec&) const { return {}; }
  /// Whether a run may start processes and write output; otherwise nothing has to be there for that.
  [[nodiscard]] virtual bool starts_processes() const { return true; }
  /// The most that such a run may take, whatever the task says; 0: as the task says.
  [[nodiscard]] virtual DurationMilliseconds longest_run(const TaskSpec&) const { return 0; }
};

/// Which worker offers a service, by the service's name.
using WorkerServices = std::map<std::string, std::shared_ptr<const WorkerManifest>, std::less<>>;

/// What a run of `task` may take, by the task's timeout and the worker's own; 0: no limit.
[[nodiscard]] DurationMilliseconds run_limit(const TaskSpec& task, const TaskWorker& worker);

/// Workers by type, and services: the built-in workers, which stay, and what the workers folder has, which
/// comes and goes. Threads: any.
class WorkerRegistry {
 public:
  using Workers = std::map<std::string, std::shared_ptr<const TaskWorker>, std::less<>>;

  /// A built-in worker. `conflict` when the type is taken.
  [[nodiscard]] Result<void> add(std::string type, std::shared_ptr<const TaskWorker> worker);
  /// These are the external workers and the services (null: none) from now on. Workers of a type that is
  /// built in are left out.
  void set_external(Workers workers, std::shared_ptr<const WorkerServices> services = nullptr);
  /// Null where no worker is known. A run keeps the worker that it began with.
  [[nodiscard]] std::shared_ptr<const TaskWorker> find(std::string_view type) const;
  [[nodiscard]] std::vector<std::string> types() const;
  /// Never null. A run keeps those that it began with.
  [[nodiscard]] std::shared_ptr<const WorkerServices> services() const;

 private:
  mutable std::mutex mutex_;
  Workers built_in_;
  Workers external_;
  std::shared_ptr<const WorkerServices> services_ = std::make_shared<const WorkerServices>();
};

}  // namespace agenttask::agent
