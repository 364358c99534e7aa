#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "agent/runner/outcome.hpp"
#include "agent/runner/runner_body.hpp"

// Runs whose start is committed together with something else: with their task's arrival where a slot is free,
// or with the end of the run whose slot they get. Slot and files are taken while that is being written, and
// the run waits for its word.
namespace agenttask::agent {

struct Runner::Body::PreparedRun {
  PreparedRun(std::shared_ptr<ActiveRun> active_, std::shared_ptr<const TaskWorker> worker_)
      : active(std::move(active_)), worker(std::move(worker_)) {}

  /// The first word counts; nothing: it was not committed.
  void settle(std::optional<StartedRun> run) {
    const std::scoped_lock lock(mutex);
    if (settled) return;
    settled = true;
    started = std::move(run);
    told.notify_all();
  }
  const std::optional<StartedRun>& await() {
    std::unique_lock lock(mutex);
    told.wait(lock, [&] { return settled; });
    return started;
  }

  const std::shared_ptr<ActiveRun> active;
  const std::shared_ptr<const TaskWorker> worker;
  Spools spools;
  std::mutex mutex;
  std::condition_variable told;
  bool settled = false;
  std::optional<StartedRun> started;
};

/// What the ledger holds meanwhile.
struct Runner::Body::PreparedTicket {
  explicit PreparedTicket(std::shared_ptr<PreparedRun> run_) : run(std::move(run_)) {}
  ~PreparedTicket() { run->settle(std::nullopt); }
  PreparedTicket(const PreparedTicket&) = delete;
  PreparedTicket& operator=(const PreparedTicket&) = delete;

  const std::shared_ptr<PreparedRun> run;
};

std::optional<RunOutcome> Runner::Body::compute(const Task& task) const {
  const auto worker = workers_.find(task.spec.type);
  if (worker == nullptr || !worker->only_computes() || !policy_.check(task.spec)) return std::nullopt;
  const auto valid = worker->validate(task, {});
  if (!valid || !valid->may_run) return std::nullopt;
  return to_outcome(worker->compute(task), StopCause::none, {});
}

std::optional<Admission> Runner::Body::take_arrival(const Task& task) {
  if (!recovered_ || is_stopping()) return std::nullopt;
  if (auto outcome = compute(task)) return *std::move(outcome);
  auto run = prepare(task, nullptr);
  if (!run) return std::nullopt;
  try {
    threads_.start([this, run] { run_prepared(run); });
    return Readiness(std::make_shared<PreparedTicket>(std::move(run)));
  } catch (const std::system_error&) {
    withdraw(*run);  // whoever starts it later says what is short
    return std::nullopt;
  }
}

std::optional<Admission> Runner::Body::take_next(const Task& task, const ActiveRun& ending,
                                                 std::shared_ptr<PreparedRun>& next) {
  if (!recovered_ || is_stopping()) return std::nullopt;
  {
    const std::scoped_lock lock(mutex_);
    if (active_.contains(task.spec.id)) return Readiness();
  }
  if (auto outcome = compute(task)) return *std::move(outcome);
  next = prepare(task, &ending);
  if (!next) return std::nullopt;
  return Readiness(std::make_shared<PreparedTicket>(next));
}

/// Null: something keeps it from starting now, and who starts it later sees to that. `ending`: the run whose
/// slot it gets.
std::shared_ptr<Runner::Body::PreparedRun> Runner::Body::prepare(const Task& task, const ActiveRun* ending) {
  const auto worker = workers_.find(task.spec.type);
  if (worker == nullptr || !worker->validates_at_once()) return nullptr;
  const TaskSpec& spec = task.spec;
  auto active = std::make_shared<ActiveRun>(
      ReadyTask{spec.id, spec.type, spec.options.concurrency_key, spec.options.priority, 0});
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_ || !blocked_.empty() || active_.size() >= slots_ + (ending ? 1 : 0)) return nullptr;
    if (!active_.emplace(spec.id, active).second) return nullptr;
  }
  auto run = std::make_shared<PreparedRun>(active, worker);
  // Where a process has just ended there is room for another.
  const bool has_room = ending != nullptr && ending->has_files;
  if (make_ready(*run, task, has_room)) return run;
  retire(*active);
  return nullptr;
}

bool Runner::Body::make_ready(PreparedRun& run, const Task& task, bool has_room) {
  ActiveRun& active = *run.active;
  const TaskWorker& worker = *run.worker;
  if (!policy_.check(task.spec) || !worker.lacks(task.spec).empty()) return false;
  try {
    const auto valid = worker.validate(task, active.stop.get_token());
    if (!valid || !valid->may_run) return false;
  } catch (const std::exception&) {
    return false;
  }
  if (worker.starts_processes() && !has_room && !supervisor_.check_room()) return false;
  if (!take_reserve()) return false;
  active.has_files = worker.starts_processes();
  auto spools = make_spools(task, active.has_files);
  if (!spools) return false;
  run.spools = *std::move(spools);
  return true;
}

void Runner::Body::withdraw(PreparedRun& run) {
  remove_files(*run.active);
  retire(*run.active);
}

void Runner::Body::begin_prepared(const StartedRun& run, const Readiness& readiness) {
  if (readiness) std::static_pointer_cast<PreparedTicket>(readiness)->run->settle(run);
}

void Runner::Body::run_prepared(std::shared_ptr<PreparedRun> run) {
  while (run) {
    ActiveRun& active = *run->active;
    std::shared_ptr<PreparedRun> next;
    if (const auto& started = run->await()) {
      clear_problem();
      next = run_started(active, *started, *run->worker, std::move(run->spools));
    } else {
      remove_files(active);
    }
    retire(active, next != nullptr);
    run = std::move(next);
  }
}

}  // namespace agenttask::agent
