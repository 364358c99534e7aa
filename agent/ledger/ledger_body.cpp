#include "agent/ledger/ledger_body.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

namespace agenttask::agent {
namespace {

/// What clocks differ by without anybody having set them or slept.
constexpr DurationMilliseconds kCorrection = 1000;

DurationMilliseconds monotonic_milliseconds(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.monotonic().time_since_epoch()).count();
}

}  // namespace

Ledger::Body::Body(std::filesystem::path file, const Clock& clock, LedgerOptions options)
    : file_(std::move(file)),
      clock_(clock),
      options_(std::move(options)),
      wall_ahead_(clock.wall() - clock.since_boot()),
      slept_(clock.since_boot() - monotonic_milliseconds(clock)),
      awake_since_(clock.since_boot()) {
  incarnation_ = make_uuid(clock_.wall());
}

Result<void> Ledger::Body::try_again() {
  bool is_open = false;
  {
    const std::scoped_lock lock(mutex_);
    is_open = database_.has_value();
  }
  if (is_open) return probe();
  LedgerChange change;
  auto opened = open_file();
  if (!opened) change.health = note_problem(opened.error());
  if (change.health) announce(change);
  if (!opened) return opened;
  auto begun = begin();
  if (begun) return begun;
  // A start that can't be noted must not do anything: the server could not tell it from a copy.
  {
    const std::scoped_lock lock(mutex_);
    closed_because_ = begun.error();
    database_.reset();
    file_lock_.reset();
    change.health = note_problem(begun.error());
  }
  announce(change);
  return begun;
}

Result<void> Ledger::Body::open_file() {
  const std::scoped_lock lock(mutex_);
  const auto open = [&]() -> Result<void> {
    auto held = hold_ledger(file_);
    if (!held && held.error().code == ErrorCode::conflict)
      return Error{ErrorCode::unavailable, held.error().message};
    if (!held) return held.error();
    auto database = open_ledger_file(file_, options_.max_page_count);
    if (!database) return database.error();
    file_lock_ = *std::move(held);
    database_ = *std::move(database);
    return {};
  };
  auto opened = open();
  if (!opened) closed_because_ = with_context(opened.error(), "the ledger can't be used");
  return opened;
}

Result<void> Ledger::Body::probe() {
  LedgerChange change;
  const auto written = [&]() -> Result<void> {
    const std::scoped_lock lock(mutex_);
    storage::Transaction transaction(*database_);
    database_->execute("UPDATE stream SET only_row = 1");
    auto committed = transaction.commit();
    change.health = committed ? clear_problem() : note_problem(committed.error());
    change.work = change.health && committed;
    return committed;
  }();
  announce(change);
  return written;
}

void Ledger::Body::pass(QueuedWrite& write) {
  queue_.pass(write, [this](std::span<QueuedWrite* const> writes) { carry_out(writes); });
  announce(write.change);
  if (write.thrown) std::rethrow_exception(write.thrown);
}

void Ledger::Body::carry_out(std::span<QueuedWrite* const> writes) {
  const std::scoped_lock lock(mutex_);
  if (!database_) {
    for (QueuedWrite* write : writes) write->stored = closed_because_;
    return;
  }
  note_sleep();
  storage::Transaction transaction(*database_);
  std::vector<QueuedWrite*> kept;
  if (writes.size() == 1) {
    if (apply(*writes.front())) kept.push_back(writes.front());
  } else {
    kept = apply_together(transaction, writes);
  }
  if (kept.empty()) return;
  const auto committed = transaction.commit();
  if (committed) kept.front()->change.health = clear_problem();
  for (QueuedWrite* write : kept) note_stored(*write, committed);
}

/// Each in a part of the transaction that can be undone alone. What ends the whole of it (a full disk may)
/// fails them all: behind that a part would be a transaction of its own.
std::vector<QueuedWrite*> Ledger::Body::apply_together(storage::Transaction& transaction,
                                                       std::span<QueuedWrite* const> writes) {
  std::vector<QueuedWrite*> kept;
  for (QueuedWrite* write : writes) {
    if (transaction.ended()) break;
    storage::Savepoint part(*database_);
    if (!apply(*write)) continue;
    if (const auto released = part.release(); released) {
      kept.push_back(write);
    } else {
      note_stored(*write, released);
    }
  }
  if (!transaction.ended()) return kept;
  const auto failed = transaction.commit();
  for (QueuedWrite* write : writes) note_stored(*write, failed);
  return {};
}

void Ledger::Body::note_stored(QueuedWrite& write, const Result<void>& stored) {
  write.stored = stored;
  if (stored) return;
  write.change = {};
  write.change.health = note_problem(stored.error());
  write.stored = unwritable(stored.error());
}

bool Ledger::Body::apply(QueuedWrite& write) {
  database_->commits(write.point);
  LedgerWrite how(*database_, clock_, awake_since_, options_.outbox_budget);
  bool accepted = false;
  try {
    accepted = write.apply(how);
  } catch (...) {
    write.thrown = std::current_exception();
  }
  write.stored = {};
  // A failure of the storage explains why something seemed not to be there.
  if (write.thrown || (!accepted && !database_->failed())) return false;
  how.finish();
  write.change = std::move(how.change);
  return true;
}

void Ledger::Body::release_memory() {
  const std::scoped_lock lock(mutex_);
  if (database_) database_->release_memory();
}

std::optional<LedgerProblem> Ledger::Body::problem() const {
  const std::scoped_lock lock(problem_mutex_);
  return problem_;
}

bool Ledger::Body::note_problem(const Error& error) {
  // With the file open these are faults of ours, or of who asked; what the disk refuses has other codes.
  if (database_ && (error.code == ErrorCode::internal || error.code == ErrorCode::conflict)) return false;
  auto described = describe_ledger_problem(error);
  const std::scoped_lock lock(problem_mutex_);
  if (problem_ && problem_->code == described.code) return false;
  problem_ = std::move(described);
  return true;
}

bool Ledger::Body::clear_problem() {
  const std::scoped_lock lock(problem_mutex_);
  return std::exchange(problem_, std::nullopt).has_value();
}

DurationMilliseconds Ledger::Body::wall_change() {
  const DurationMilliseconds ahead = clock_.wall() - clock_.since_boot();
  const DurationMilliseconds change = ahead - std::exchange(wall_ahead_, ahead);
  return std::abs(change) > kCorrection ? change : 0;
}

void Ledger::Body::note_sleep() {
  const DurationMilliseconds since_boot = clock_.since_boot();
  const DurationMilliseconds slept = since_boot - monotonic_milliseconds(clock_);
  if (slept - std::exchange(slept_, slept) > kCorrection) {
    awake_since_ = since_boot;
    just_awoke_ = true;
  }
}

std::shared_ptr<LedgerSubscription> Ledger::Body::subscribe(Listener listener) {
  auto subscription = std::make_shared<LedgerSubscription>();
  subscription->listener = std::move(listener);
  const std::scoped_lock lock(subscriptions_mutex_);
  std::erase_if(subscriptions_, [](const auto& one) { return one.expired(); });
  subscriptions_.push_back(subscription);
  return subscription;
}

void Ledger::Body::announce(const LedgerChange& change) {
  if (!change.work && !change.reports && !change.hold && !change.health && change.stop.empty() &&
      change.replaced.empty() && change.tasks.empty()) {
    return;
  }
  std::vector<std::shared_ptr<LedgerSubscription>> subscriptions;
  {
    const std::scoped_lock lock(subscriptions_mutex_);
    for (const auto& one : subscriptions_) {
      if (auto subscription = one.lock()) subscriptions.push_back(std::move(subscription));
    }
  }
  for (const auto& subscription : subscriptions) {
    {
      const std::scoped_lock lock(subscription->mutex);
      if (!subscription->active) continue;
      ++subscription->calls;
    }
    // No lock is held meanwhile: a listener may call the ledger, and so come back here.
    subscription->listener(change);
    const std::scoped_lock lock(subscription->mutex);
    if (--subscription->calls == 0) subscription->idle.notify_all();
  }
}

Result<void> change_row(LedgerWrite& write, TaskRow& row,
                        const std::function<Result<void>(LedgerWrite&, TaskRow&)>& action) {
  TaskState& state = row.task.state;
  if (has_ended(state.status)) {
    return Error{ErrorCode::conflict, "the task has ended (" + std::string(to_string(state.status)) + ")",
                 "status"};
  }
  const TaskRow before = row;
  if (auto done = action(write, row); !done) return done;
  if (row.task == before.task) return {};
  state.updated_at = std::max(write.now, state.updated_at + 1);
  write.save_changed(row);
  const bool steps_aside = before.queue == Queue::ready && row.queue != Queue::ready;
  if (steps_aside) write.release_key(row.task.spec.options.concurrency_key);
  return {};
}

}  // namespace agenttask::agent
