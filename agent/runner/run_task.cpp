#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/ledger/detail_text.hpp"
#include "agent/runner/outcome.hpp"
#include "agent/runner/runner_body.hpp"
#include "agent/workers/run_wishes.hpp"
#include "platform/base/error_text.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

/// After validate said no: once, twice, three times, and more.
constexpr std::array<DurationMilliseconds, 4> kAskAgain{1'000, 5'000, 30'000, 60'000};
constexpr std::size_t kMostRefusedChecks = 10'000;
constexpr std::chrono::seconds kBetweenProgress{1};
constexpr int kEndAttemptsAtShutdown = 5;
constexpr std::chrono::seconds kBetweenEndAttempts{1};

/// Empties the record of the processes of a run, and leaves room on the disk for what they note down there
/// before their first instruction: a line that says nothing, in a block that is theirs.
Result<void> prepare_record(const std::filesystem::path& record) {
  std::ofstream file(record, std::ios::trunc);
  file << '\n';
  file.close();
  if (!file) return io_error("cannot write " + record.string() + " for a run's processes", errno);
  return {};
}

/// The tasks and messages of this device, as they are.
class LedgerReader final : public TaskReader {
 public:
  explicit LedgerReader(Ledger& ledger) : ledger_(ledger) {}
  [[nodiscard]] Result<Task> get(std::string_view id) override { return ledger_.get(id); }
  [[nodiscard]] Result<TaskPage> list(const TaskFilter& filter, std::optional<std::int64_t> cursor,
                                      std::size_t most) override {
    return ledger_.list(filter, cursor, most);
  }
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view room_id,
                                                          std::size_t most) override {
    return ledger_.messages(room_id, most);
  }

 private:
  Ledger& ledger_;
};

/// What a worker sees of its run.
class ActiveContext final : public RunContext {
 public:
  ActiveContext(const ActiveRun& active, LiveRun& live, const StartedRun& started, Ledger& ledger,
                const Clock& clock, std::filesystem::path process_record)
      : active_(active),
        live_(live),
        started_(started),
        ledger_(ledger),
        clock_(clock),
        reader_(ledger),
        wishes_(reader_, started.task, started.number, clock),
        process_record_(std::move(process_record)) {}
  [[nodiscard]] const std::string& run_id() const override { return started_.run_id; }
  [[nodiscard]] std::filesystem::path process_record() const override { return process_record_; }
  [[nodiscard]] std::stop_token stop() const override { return active_.stop.get_token(); }
  [[nodiscard]] StopCause stop_cause() const override { return active_.cause.load(); }
  void output(OutputStream stream, std::string_view bytes) override { live_.write(stream, bytes); }
  [[nodiscard]] OutputCount count(OutputStream stream) const override { return live_.count(stream); }
  [[nodiscard]] std::int64_t run_number() const override { return started_.number; }
  [[nodiscard]] RunWishes& wishes() override { return wishes_; }
  void progress(std::string_view text) override {
    const std::scoped_lock lock(mutex_);
    const MonotonicTime now = clock_.monotonic();
    if (last_progress_ && now - *last_progress_ < kBetweenProgress) return;
    last_progress_ = now;
    // For people alone: a ledger that can't take it says so where the end of the run is stored.
    (void)ledger_.progress(started_.task.spec.id, started_.number, to_detail(text));
  }

 private:
  const ActiveRun& active_;
  LiveRun& live_;
  const StartedRun& started_;
  Ledger& ledger_;
  const Clock& clock_;
  LedgerReader reader_;
  RunWishes wishes_;
  std::filesystem::path process_record_;
  std::mutex mutex_;
  std::optional<MonotonicTime> last_progress_;
};

/// Whatever a worker throws is its own failure.
WorkResult work(const TaskWorker& worker, RunContext& context, const Task& task) {
  try {
    return worker.execute(context, task);
  } catch (const std::exception& error) {
    return worker_error(std::string("the worker threw: ") + error.what());
  } catch (...) {
    return worker_error("the worker threw something that is no exception");
  }
}

}  // namespace

void Runner::Body::run(ActiveRun& active) {
  auto next = attempt(active);
  retire(active, next != nullptr);
  run_prepared(std::move(next));
}

void Runner::Body::retire(ActiveRun& active, bool handed_over) {
  const std::scoped_lock lock(mutex_);
  active_.erase(active_.find(active.task.id));
  changed_.notify_all();
  // What its end made due, and what came meanwhile, was perhaps looked at while it stood in the way: the next
  // occurrence of its task, or another with its key.
  if (handed_over && active.work_seen == work_) return;
  look_ = true;
  wake_.notify_all();
}

bool Runner::Body::may_start(const Task& task, const TaskWorker& worker, const std::stop_token& stop) {
  const auto settle = [&](const Result<void>& done) {
    if (!done) note_problem(done.error());
    return false;
  };
  const auto ask_again = [&](std::string_view why) {
    return settle(
        ledger_.defer(task.spec.id, reason::kValidateFalse, to_detail(why), ask_again_after(task.spec.id)));
  };
  if (const auto allowed = policy_.check(task.spec); !allowed) {
    // A slip in the file must not end what is due meanwhile: it waits until somebody has mended it.
    if (allowed.error().code != ErrorCode::denied) return ask_again(allowed.error().message);
    log_.warning("a task was refused by the policy", {{"task", task.spec.id}});
    return settle(ledger_.refuse(task.spec.id, reason::kRejected, allowed.error().message));
  }
  if (const std::string missing = worker.lacks(task.spec); !missing.empty()) {
    return settle(wait_for_worker(task.spec, worker, missing));
  }
  Result<Validation> valid = Validation{false, ""};
  try {
    valid = worker.validate(task, stop);
  } catch (const std::exception& error) {
    valid = Validation{false, std::string("the worker's check threw: ") + error.what()};
  } catch (...) {
    valid = Validation{false, "the worker's check threw something that is no exception"};
  }
  if (stop.stop_requested()) return false;  // it was not asked for long enough to count
  if (!valid && valid.error().code == ErrorCode::invalid) {
    return settle(ledger_.refuse(task.spec.id, reason::kInvalid,
                                 with_field(valid.error().field, valid.error().message)));
  }
  if (!valid) valid = Validation{false, "the worker's check failed: " + valid.error().message};
  if (valid->may_run) {
    const std::scoped_lock lock(mutex_);
    refused_checks_.erase(task.spec.id);
    return true;
  }
  if (valid->detail.empty()) valid->detail = "the worker does not want to run it now";
  return ask_again(valid->detail);
}

Result<void> Runner::Body::wait_for_worker(const TaskSpec& task, const TaskWorker& worker,
                                           const std::string& missing) {
  if (auto parked = ledger_.park(std::array{task.id}, reason::kNoWorker, missing); !parked) return parked;
  // What came between the look and the ledger's word has told nobody.
  if (!worker.lacks(task).empty()) return {};
  return ledger_.workers_changed(std::array{task.type});
}

DurationMilliseconds Runner::Body::ask_again_after(const std::string& task_id) {
  const std::scoped_lock lock(mutex_);
  // Tasks that ended while they waited are forgotten at some time; what is lost is a longer pause.
  if (refused_checks_.size() >= kMostRefusedChecks && !refused_checks_.contains(task_id))
    refused_checks_.clear();
  const std::size_t times = refused_checks_[task_id]++;
  return kAskAgain[std::min(times, kAskAgain.size() - 1)];
}

std::shared_ptr<Runner::Body::PreparedRun> Runner::Body::attempt(ActiveRun& active) {
  const std::string& id = active.task.id;
  const auto task = ledger_.get(id);
  if (!task) {
    if (task.error().code != ErrorCode::not_found) note_problem(task.error());
    return nullptr;
  }
  const auto worker = workers_.find(task->spec.type);
  if (worker == nullptr || !may_start(*task, *worker, active.stop.get_token())) return nullptr;
  if (active.stop.stop_requested()) return nullptr;  // a shutdown: it waits for the next start of the agent
  if (auto room = worker->starts_processes() ? supervisor_.check_room() : Result<void>(); !room) {
    const std::scoped_lock lock(mutex_);
    note_shortage(room.error().message);
    return nullptr;
  }
  // Without room for its end nothing is started, nor without files for its output.
  if (auto taken = take_reserve(); !taken) {
    note_problem(taken.error());
    return nullptr;
  }
  if (task->spec.options.outlives_agent) {
    attempt_outside(active, *task, *worker);
    return nullptr;
  }
  active.has_files = worker->starts_processes();
  auto spools = make_spools(*task, active.has_files);
  if (!spools) {
    note_problem(spools.error());
    return nullptr;
  }
  const auto started = commit_start(id, false);
  if (!started) {
    remove_files(active);
    return nullptr;
  }
  return run_started(active, *started, *worker, *std::move(spools));
}

std::shared_ptr<Runner::Body::PreparedRun> Runner::Body::run_started(ActiveRun& active,
                                                                     const StartedRun& started,
                                                                     const TaskWorker& worker,
                                                                     Spools spools) {
  show_live(active,
            std::make_shared<LiveRun>(started.number, std::move(spools.standard_output),
                                      std::move(spools.standard_error)),
            run_limit(started.task.spec, worker));
  return execute(active, started, worker);
}

Result<Runner::Body::Spools> Runner::Body::make_spools(const Task& task, bool files) {
  if (!files) return Spools{Spool::none(), Spool::none()};
  const std::string& id = task.spec.id;
  const std::int64_t keep = task.spec.options.max_output_bytes;
  auto standard_output = Spool::create(spool_file(id, OutputStream::standard_output), keep);
  if (!standard_output) return standard_output.error();
  auto standard_error = Spool::create(spool_file(id, OutputStream::standard_error), keep);
  if (!standard_error) return standard_error.error();
  if (auto prepared = prepare_record(process_record(id)); !prepared) {
    remove_spool(id);
    return prepared.error();
  }
  return Spools{*std::move(standard_output), *std::move(standard_error)};
}

void Runner::Body::remove_files(const ActiveRun& active) {
  if (active.folder) {
    active.folder->remove();
  } else if (active.has_files) {
    remove_spool(active.task.id);
  }
}

bool Runner::Body::is_stopping() const {
  const std::scoped_lock lock(mutex_);
  return stopping_;
}

std::optional<StartedRun> Runner::Body::commit_start(const std::string& id, bool outside) {
  if (is_stopping()) return std::nullopt;  // it waits for the next start of the agent
  auto started = ledger_.start(id, outside);
  if (!started) {
    note_problem(started.error());
    return std::nullopt;
  }
  if (!started->run) {
    if (started->reason == reason::kOutboxFull) {
      block(reason::kOutboxFull,
            "too many reports wait for the server; nothing new starts until it takes them");
    }
    return std::nullopt;
  }
  clear_problem();
  return std::move(started->run);
}

/// `timeout`: what the runner stops it after; 0: never.
void Runner::Body::show_live(ActiveRun& active, std::shared_ptr<LiveRun> live, DurationMilliseconds timeout) {
  {
    const std::scoped_lock lock(mutex_);
    active.live = std::move(live);
    if (timeout > 0) active.deadline = clock_.monotonic() + std::chrono::milliseconds(timeout);
    // Otherwise it looks soon enough.
    if (active.deadline && *active.deadline < sleeps_until_) {
      timers_changed_ = true;
      wake_.notify_all();
    }
  }
  announce_change();
}

std::shared_ptr<Runner::Body::PreparedRun> Runner::Body::execute(ActiveRun& active, const StartedRun& started,
                                                                 const TaskWorker& worker) {
  const std::string& id = active.task.id;
  log_.info("run started", {{"task", id}, {"run", started.number}, {"type", started.task.spec.type}});
  ActiveContext context(active, *active.live, started, ledger_, clock_, process_record(id));
  WorkResult result = work(worker, context, started.task);
  {
    const std::scoped_lock lock(mutex_);
    active.deadline.reset();
  }
  const RunOutcome outcome = to_outcome(std::move(result), active.cause.load(), context.wishes().take());
  auto next = record_end(active, started, outcome, Slot::hand_over);
  active.live->end();
  return next;
}

std::shared_ptr<Runner::Body::PreparedRun> Runner::Body::record_end(ActiveRun& active,
                                                                    const StartedRun& started,
                                                                    const RunOutcome& outcome, Slot slot) {
  const std::string& id = active.task.id;
  const auto output = [&] { return active.live ? active.live->kept() : kept_output_of(nullptr, nullptr); };
  std::shared_ptr<PreparedRun> next;
  Ledger::Ready take;
  if (slot == Slot::hand_over) take = [&](const Task& task) { return take_next(task, active, next); };
  {
    const std::scoped_lock lock(mutex_);
    active.work_seen = work_;
  }
  for (int left = kEndAttemptsAtShutdown; left > 0;) {
    if (is_stopping()) --left;
    auto ended = end_run(id, started.number, outcome, output, std::exchange(take, {}));
    // Rather the end alone than that nobody knows how it ended; what the shutdown cut off says the same
    // later, and what is recorded outside is read again.
    if (!ended && left == 0 && outcome.reason != reason::kInterrupted && !active.folder)
      ended = end_without_output(id, started.number, outcome, output());
    // What would have followed it waits for its own start.
    if (next && !ended) withdraw(*std::exchange(next, nullptr));
    if (ended) {
      clear_problem();
      log_.info("run ended", {{"task", id},
                              {"run", started.number},
                              {"status", to_string(outcome.status)},
                              {"reason", outcome.reason}});
      remove_files(active);
      return next;
    }
    if (ended.error().code == ErrorCode::conflict || ended.error().code == ErrorCode::not_found) {
      log_.error("the end of a run was refused", {{"task", id}, {"error", ended.error().message}});
      return nullptr;
    }
    // A result is never lost while we live; after a shutdown the run counts as interrupted, with its output.
    note_problem(ended.error());
    if (left == 0) return nullptr;
    std::unique_lock lock(mutex_);
    // What fails now fails a moment later too: at a shutdown the attempts are as far apart as ever.
    const bool was_stopping = stopping_;
    changed_.wait_for(lock, kBetweenEndAttempts, [&] { return stopping_ != was_stopping; });
  }
  return nullptr;
}

}  // namespace agenttask::agent
