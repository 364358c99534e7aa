#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "agent/runner/outcome.hpp"
#include "agent/runner/runner_body.hpp"

// A task that arrives while a slot is free is started in the commit that stores it: slot, files and thread
// are taken while that is being written, and the thread waits for its word.
namespace agenttask::agent {

struct Runner::Body::Arrival {
  Arrival(std::shared_ptr<ActiveRun> active_, std::shared_ptr<const TaskWorker> worker_)
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
struct Runner::Body::ArrivalTicket {
  explicit ArrivalTicket(std::shared_ptr<Arrival> arrival_) : arrival(std::move(arrival_)) {}
  ~ArrivalTicket() { arrival->settle(std::nullopt); }
  ArrivalTicket(const ArrivalTicket&) = delete;
  ArrivalTicket& operator=(const ArrivalTicket&) = delete;

  const std::shared_ptr<Arrival> arrival;
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
  const auto worker = workers_.find(task.spec.type);
  if (worker == nullptr || !worker->validates_at_once()) return std::nullopt;
  if (auto outcome = compute(task)) return *std::move(outcome);
  const TaskSpec& spec = task.spec;
  auto active = std::make_shared<ActiveRun>(
      ReadyTask{spec.id, spec.type, spec.options.concurrency_key, spec.options.priority, 0});
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_ || !blocked_.empty() || active_.size() >= slots_) return std::nullopt;
    if (!active_.emplace(spec.id, active).second) return std::nullopt;
  }
  auto arrival = std::make_shared<Arrival>(active, worker);
  if (make_ready(*arrival, task)) {
    try {
      threads_.start([this, arrival] { run_arrival(*arrival); });
      return Readiness(std::make_shared<ArrivalTicket>(std::move(arrival)));
    } catch (const std::system_error&) {
      remove_files(*active);  // whoever starts it later says what is short
    }
  }
  retire(*active);
  return std::nullopt;
}

/// False: something keeps it from starting now, and who starts it later sees to that.
bool Runner::Body::make_ready(Arrival& arrival, const Task& task) {
  ActiveRun& active = *arrival.active;
  const TaskWorker& worker = *arrival.worker;
  if (!policy_.check(task.spec) || !worker.lacks(task.spec).empty()) return false;
  try {
    const auto valid = worker.validate(task, active.stop.get_token());
    if (!valid || !valid->may_run) return false;
  } catch (const std::exception&) {
    return false;
  }
  if (worker.starts_processes() && !supervisor_.check_room()) return false;
  if (!take_reserve()) return false;
  active.has_files = worker.starts_processes();
  auto spools = make_spools(task, active.has_files);
  if (!spools) return false;
  arrival.spools = *std::move(spools);
  return true;
}

void Runner::Body::begin_arrival(const StartedRun& run, const Readiness& readiness) {
  if (readiness) std::static_pointer_cast<ArrivalTicket>(readiness)->arrival->settle(run);
}

void Runner::Body::run_arrival(Arrival& arrival) {
  ActiveRun& active = *arrival.active;
  if (const auto& started = arrival.await()) {
    clear_problem();
    run_started(active, *started, *arrival.worker, std::move(arrival.spools));
  } else {
    remove_files(active);
  }
  retire(active);
}

}  // namespace agenttask::agent
