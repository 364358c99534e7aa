#include "agent/ledger/ledger_body.hpp"

#include <algorithm>
#include <utility>

namespace agenttask::agent {

Ledger::Body::Body(storage::Database database, const Clock& clock, LedgerOptions options)
    : database_(std::move(database)),
      clock_(clock),
      options_(std::move(options)),
      wall_ahead_(clock.wall() - clock.since_boot()) {
  incarnation_ = make_uuid(clock_.wall());
}

bool Ledger::Body::wall_was_set_back() {
  constexpr DurationMilliseconds kCorrection = 1000;
  const DurationMilliseconds ahead = clock_.wall() - clock_.since_boot();
  return std::exchange(wall_ahead_, ahead) - ahead > kCorrection;
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
  if (!change.work && !change.reports && !change.hold && change.stop.empty() && change.tasks.empty()) return;
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

}  // namespace agenttask::agent
