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

Ledger::Body::Body(storage::Database database, const Clock& clock, LedgerOptions options)
    : database_(std::move(database)),
      clock_(clock),
      options_(std::move(options)),
      wall_ahead_(clock.wall() - clock.since_boot()),
      slept_(clock.since_boot() - monotonic_milliseconds(clock)),
      awake_since_(clock.since_boot()) {
  incarnation_ = make_uuid(clock_.wall());
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
  if (!change.work && !change.reports && !change.hold && change.stop.empty() && change.replaced.empty() &&
      change.tasks.empty()) {
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
