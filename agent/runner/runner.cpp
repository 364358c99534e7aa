#include "agent/runner/runner.hpp"

#include <array>
#include <cstdio>
#include <utility>

#include "agent/ledger/ledger_write.hpp"
#include "agent/runner/runner_body.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/secure_file.hpp"

namespace agenttask::agent {
namespace {

/// "2026-11-22 05:10:00 UTC"
std::string to_text(UnixMilliseconds time) {
  const auto moment = std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(time));
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(moment - day));
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02u %02d:%02d:%02d UTC", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

}  // namespace

Runner::Runner(Ledger& ledger, const WorkerRegistry& workers, const Policy& policy,
               os::ProcessSupervisor& supervisor, const Clock& clock, Logger& log, RunnerOptions options)
    : body_(std::make_unique<Body>(ledger, workers, policy, supervisor, clock, log, std::move(options))) {}

Runner::~Runner() {
  body_->stop();
}
Result<void> Runner::recover() {
  body_->listen();
  return body_->recover();
}
Result<void> Runner::start() {
  return body_->start();
}
void Runner::wake() {
  body_->wake();
}
void Runner::set_slots(unsigned slots) {
  body_->set_slots(slots);
}
void Runner::set_drain(std::chrono::milliseconds drain) {
  body_->set_drain(drain);
}
bool Runner::stop_run(std::string_view task_id) {
  return body_->stop_run(task_id, StopCause::cancel);
}
void Runner::stop() {
  body_->stop();
}
Result<Explanation> Runner::explain(std::string_view task_id) {
  return body_->explain(task_id);
}
RunnerStatus Runner::status() const {
  return body_->status();
}
Result<std::unique_ptr<Follower>> Runner::follow(std::string_view task_id) {
  return body_->follow(task_id);
}

Runner::Body::Body(Ledger& ledger, const WorkerRegistry& workers, const Policy& policy,
                   os::ProcessSupervisor& supervisor, const Clock& clock, Logger& log, RunnerOptions options)
    : ledger_(ledger),
      workers_(workers),
      policy_(policy),
      supervisor_(supervisor),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      scheduler_(ledger, clock),
      slots_(options_.slots),
      drain_(options_.drain),
      retry_backoff_(std::chrono::seconds(1), std::chrono::seconds(30), random_fraction),
      purge_at_(clock.monotonic()),
      reserve_(options_.reserve_file, options_.reserve_bytes) {}

Runner::Body::~Body() {
  stop();
}

Result<void> Runner::Body::start() {
  if (auto made = make_spool_folder(); !made) note_problem(made.error());
  listen();
  loop_ = std::jthread([this] { loop(); });
  ledger_.start_arrivals([this](const Task& task) { return take_arrival(task); });
  return {};
}

void Runner::Body::listen() {
  if (!subscription_)
    subscription_ = ledger_.subscribe([this](const LedgerChange& change) { on_change(change); });
}

Result<void> Runner::Body::make_spool_folder() {
  auto made = os::create_folder(options_.spool_folder, os::Readable::by_owner);
  spool_made_ = made.has_value();
  if (!made) return with_context(made.error(), "cannot make the folder for the output of runs");
  return {};
}

void Runner::Body::wake() {
  const std::scoped_lock lock(mutex_);
  look_ = true;
  wake_.notify_all();
}

void Runner::Body::set_slots(unsigned slots) {
  const std::scoped_lock lock(mutex_);
  slots_ = slots;
  look_ = true;
  wake_.notify_all();
}

void Runner::Body::set_drain(std::chrono::milliseconds drain) {
  const std::scoped_lock lock(mutex_);
  drain_ = drain;
  changed_.notify_all();
}

void Runner::Body::on_change(const LedgerChange& change) {
  if (change.health && !ledger_.problem()) clear_problem();
  for (const auto& [run, readiness] : change.begun) begin_prepared(run, readiness);
  for (const PassedRun& run : change.passed) {
    log_.info("run started", {{"task", run.task_id}, {"run", run.number}, {"type", run.type}});
    log_.info("run ended", {{"task", run.task_id},
                            {"run", run.number},
                            {"status", to_string(run.status)},
                            {"reason", run.reason}});
  }
  for (const std::string& id : change.stop) (void)stop_run(id, StopCause::cancel);
  for (const std::string& id : change.replaced) (void)stop_run(id, StopCause::replaced);
  if (change.work || change.hold) {
    const std::scoped_lock lock(mutex_);
    ++work_;
    // Reports may have left the outbox: worth another try.
    if (blocked_ == reason::kOutboxFull) {
      blocked_ = {};
      retry_at_.reset();
    }
    look_ = true;
    wake_.notify_all();
  }
  if (!change.tasks.empty()) announce_change();
}

bool Runner::Body::stop_run(std::string_view task_id, StopCause cause) {
  std::shared_ptr<ActiveRun> active;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = active_.find(task_id);
    if (found == active_.end()) return false;
    active = found->second;
  }
  // Outside the lock: stop callbacks are the worker's.
  active->ask_to_stop(cause);
  if (active->outside) changed_.notify_all();
  return true;
}

void Runner::Body::stop() {
  leaving_.request_stop();
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
    changed_.notify_all();
    // Those outside our service leave by themselves.
    changed_.wait_for(lock, drain_, [&] { return active_.empty() || drain_.count() == 0; });
  }
  std::vector<std::shared_ptr<ActiveRun>> left;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [id, active] : active_) left.push_back(active);
  }
  for (const auto& active : left) {
    if (!active->outside) active->ask_to_stop(StopCause::shutdown);
  }
  left.clear();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return active_.empty(); });
    ended_ = true;
    wake_.notify_all();
  }
  // Nothing has been taken since `stopping_`.
  if (subscription_) ledger_.start_arrivals({});
  subscription_.reset();
  if (loop_.joinable()) loop_.join();
  announce_change();
}

RunnerStatus Runner::Body::status() const {
  const std::scoped_lock lock(mutex_);
  RunnerStatus status{slots_, {}, ledger_problem_};
  for (const auto& [id, active] : active_) status.running.push_back(id);
  return status;
}

bool Runner::Body::runs_outside(std::string_view task_id) const {
  const std::scoped_lock lock(mutex_);
  const auto active = active_.find(task_id);
  return active != active_.end() && active->second->outside;
}

Result<Explanation> Runner::Body::explain(std::string_view task_id) {
  auto task = ledger_.get(task_id);
  if (!task) return task.error();
  Explanation explanation{std::move(*task), "", "", false};
  const TaskState& state = explanation.task.state;
  const TaskSpec& spec = explanation.task.spec;
  const auto say = [&](std::string_view reason, std::string detail) {
    explanation.reason = reason;
    explanation.detail = std::move(detail);
    return std::move(explanation);
  };
  if (has_ended(state.status)) return say(state.reason, state.detail);
  if (state.status == TaskStatus::running) {
    explanation.outside = runs_outside(task_id);
    return say("", state.cancel_requested_at ? "it runs, and was asked to stop" : "it runs");
  }
  if (state.status == TaskStatus::awaiting_choice) {
    return say("", state.detail + " (agenttask choose ID OPTION)");
  }
  if (state.reason == reason::kPaused) {
    return say(reason::kPaused, "it is paused: agenttask resume ID lets it go on");
  }
  if (state.next_run_at && *state.next_run_at > clock_.wall()) {
    std::string when = "due at " + to_text(*state.next_run_at);
    if (!state.detail.empty()) when += "; " + state.detail;
    return say(state.reason.empty() ? std::string_view(reason::kNotDue) : state.reason, when);
  }
  if (const auto status = ledger_.status(); status && !status->quarantine.empty())
    return say(
        reason::kQuarantined,
        "the server holds this device in quarantine until an operator releases it: " + status->quarantine);
  if (ledger_.held())
    return say(reason::kHeld, "this device starts nothing new: agenttask release ends that");
  const auto worker = workers_.find(spec.type);
  if (worker == nullptr) {
    return say(reason::kNoWorker, "no worker on this device knows tasks of type " + spec.type);
  }
  if (std::string missing = worker->lacks(spec); !missing.empty())
    return say(reason::kNoWorker, std::move(missing));
  {
    const std::scoped_lock lock(mutex_);
    if (!ledger_problem_.empty()) return say(reason::kLedgerUnwritable, ledger_problem_);
    if (!blocked_.empty()) return say(blocked_, blocked_detail_);
  }
  if (!spec.options.concurrency_key.empty()) {
    const auto holder = ledger_.running_with_key(spec.options.concurrency_key);
    if (!holder) return holder.error();
    if (*holder) {
      return say(reason::kKeyHeld,
                 "task " + **holder + " runs with the same concurrencyKey " + spec.options.concurrency_key);
    }
  }
  const std::scoped_lock lock(mutex_);
  if (active_.contains(task_id)) return say("", "it is being started");
  if (active_.size() >= slots_) {
    return say(reason::kNoSlot, "all " + std::to_string(slots_) + " slots are taken by other tasks");
  }
  return say("", "nothing keeps it from running");
}

void Runner::Body::note_problem(const Error& error) {
  bool is_new = false;
  {
    const std::scoped_lock lock(mutex_);
    is_new = ledger_problem_ != error.message;
    ledger_problem_ = error.message;
    blocked_ = reason::kLedgerUnwritable;
    blocked_detail_ = error.message;
    retry_at_ = clock_.monotonic() + std::chrono::milliseconds(500) + retry_backoff_.next();
    timers_changed_ = true;
    wake_.notify_all();
  }
  if (is_new) log_.error("no work is started until the ledger can be written", {{"error", error.message}});
}

void Runner::Body::clear_problem() {
  bool was = false;
  {
    const std::scoped_lock lock(mutex_);
    was = !ledger_problem_.empty();
    ledger_problem_.clear();
    if (blocked_ == reason::kLedgerUnwritable) {
      blocked_ = {};
      retry_at_.reset();
    }
    // What waits for a slot is told so, no longer what was lacking.
    if (blocked_.empty() && !blocked_detail_.empty()) {
      blocked_detail_.clear();
      look_ = true;
      wake_.notify_all();
    }
    retry_backoff_.reset();
  }
  if (was) log_.info("the ledger can be written again");
}

void Runner::Body::block(std::string_view reason, std::string detail) {
  const std::scoped_lock lock(mutex_);
  blocked_ = reason;
  blocked_detail_ = std::move(detail);
  retry_at_ = clock_.monotonic() + std::chrono::seconds(5);
}

void Runner::Body::note_shortage(std::string detail) {
  if (blocked_ != reason::kNoSlot)
    log_.warning("no work is started for now: the system is short of something", {{"error", detail}});
  blocked_ = reason::kNoSlot;
  blocked_detail_ = std::move(detail);
  retry_at_ = clock_.monotonic() + std::chrono::milliseconds(500) + retry_backoff_.next();
  timers_changed_ = true;
  wake_.notify_all();
}

Result<void> Runner::Body::take_reserve() {
  return options_.reserve_file.empty() ? Result<void>() : reserve_.take();
}

Result<Task> Runner::Body::end_run(std::string_view id, std::int64_t number, const RunOutcome& outcome,
                                   const std::function<ChunkSource()>& output, const Ledger::Ready& next) {
  auto ended = ledger_.end(id, number, outcome, output(), next);
  if (ended || ended.error().code != ErrorCode::limit || options_.reserve_file.empty()) return ended;
  if (reserve_.give_up()) {
    log_.warning("the disk is full: the end of a run gets the room that was kept for it", {{"task", id}});
    ended = ledger_.end(id, number, outcome, output());
    if (ended || ended.error().code != ErrorCode::limit) return ended;
  }
  return end_without_output(id, number, outcome, output());
}

Result<Task> Runner::Body::end_without_output(std::string_view id, std::int64_t number, RunOutcome outcome,
                                              const ChunkSource& output) {
  std::int64_t dropped = 0;
  while (const auto chunk = output()) dropped += static_cast<std::int64_t>(chunk->bytes.size());
  if (dropped > 0) outcome.result = with_dropped(outcome.result, dropped);
  auto ended = ledger_.end(id, number, outcome, {});
  if (ended && dropped > 0)
    log_.warning("the output of a run could not be kept beside its end: it is dropped",
                 {{"task", id}, {"run", number}, {"bytes", dropped}});
  return ended;
}

std::filesystem::path Runner::Body::spool_file(std::string_view task_id, OutputStream stream) const {
  return options_.spool_folder / (std::string(task_id) + "." + std::string(to_string(stream)));
}

std::filesystem::path Runner::Body::process_record(std::string_view task_id) const {
  return options_.spool_folder / (std::string(task_id) + ".processes");
}

std::filesystem::path Runner::Body::process_record(const OpenRun& run) const {
  if (!run.outside) return process_record(run.task_id);
  return OutlivingFolder::of(options_.spool_folder, run.task_id, run.run_id).processes();
}

void Runner::Body::remove_spool(std::string_view task_id) {
  std::error_code ignored;  // one that can't be removed now is overwritten by the task's next run
  std::filesystem::remove(spool_file(task_id, OutputStream::standard_output), ignored);
  std::filesystem::remove(spool_file(task_id, OutputStream::standard_error), ignored);
  std::filesystem::remove(process_record(task_id), ignored);
}

}  // namespace agenttask::agent
