#include "server/mailboxes/mailboxes.hpp"

#include <algorithm>
#include <utility>

namespace agenttask::server {

Mailboxes::Mailboxes(const Clock& clock) : clock_(clock) {}

Mailboxes::KeyHash Mailboxes::hash(std::string_view key) {
  return std::hash<std::string_view>{}(key);
}

Mailboxes::Moment Mailboxes::moment() const {
  const std::lock_guard lock(mutex_);
  return moment_;
}

Mailboxes::WaiterId Mailboxes::park(const std::vector<std::string>& keys, Moment since, MonotonicTime until,
                                    Callback wake, bool joins) {
  std::vector<KeyHash> hashes;
  hashes.reserve(keys.size());
  for (const auto& key : keys) hashes.push_back(hash(key));
  std::unique_lock lock(mutex_);
  const WaiterId id = next_++;
  const bool missed =
      std::any_of(hashes.begin(), hashes.end(), [&](KeyHash key) { return touched_[slot(key)] > since; });
  if (missed) {
    lock.unlock();
    wake(Wake::touched);
    return id;
  }
  for (const auto key : hashes) by_key_.emplace(key, id);
  const bool earliest = deadlines_.empty() || until < deadlines_.begin()->first;
  deadlines_.emplace(until, id);
  waiters_.emplace(id, Waiter{std::move(hashes), until, std::move(wake), joins});
  lock.unlock();
  if (earliest) earlier_.notify_all();
  return id;
}

std::optional<Mailboxes::Callback> Mailboxes::take(WaiterId waiter) {
  const auto found = waiters_.find(waiter);
  if (found == waiters_.end()) return std::nullopt;
  for (const auto key : found->second.keys) by_key_.erase({key, waiter});
  deadlines_.erase({found->second.until, waiter});
  auto wake = std::move(found->second.wake);
  waiters_.erase(found);
  return wake;
}

bool Mailboxes::cancel(WaiterId waiter) {
  // Let go of outside of the lock: what a callback holds may touch something when it goes.
  std::optional<Callback> taken;
  {
    const std::lock_guard lock(mutex_);
    taken = take(waiter);
  }
  return taken.has_value();
}

void Mailboxes::take_all(KeyHash key, Whom whom, std::vector<Callback>& woken) {
  for (auto next = by_key_.lower_bound({key, 0}); next != by_key_.end() && next->first == key;) {
    const WaiterId id = (next++)->second;
    if (whom == Whom::joining && !waiters_.at(id).joins) continue;
    if (auto wake = take(id)) woken.push_back(std::move(*wake));
  }
}

void Mailboxes::touch(std::span<const std::string> keys) {
  std::vector<Callback> woken;
  {
    const std::lock_guard lock(mutex_);
    ++moment_;
    for (const auto& key : keys) {
      const KeyHash hashed = hash(key);
      touched_[slot(hashed)] = moment_;
      take_all(hashed, Whom::all, woken);
    }
  }
  for (const auto& wake : woken) wake(Wake::touched);
}

void Mailboxes::join(std::span<const std::string> keys) {
  std::vector<Callback> woken;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& key : keys) take_all(hash(key), Whom::joining, woken);
  }
  for (const auto& wake : woken) wake(Wake::touched);
}

void Mailboxes::touch(std::string_view key) {
  const std::string one(key);
  touch(std::span(&one, 1));
}

void Mailboxes::expire_all() {
  std::vector<Callback> woken;
  {
    const std::lock_guard lock(mutex_);
    while (!deadlines_.empty()) {
      if (auto wake = take(deadlines_.begin()->second)) woken.push_back(std::move(*wake));
    }
  }
  for (const auto& wake : woken) wake(Wake::timed_out);
}

std::optional<MonotonicTime> Mailboxes::expire() {
  const auto now = clock_.monotonic();
  std::vector<Callback> woken;
  std::optional<MonotonicTime> next;
  {
    const std::lock_guard lock(mutex_);
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      if (auto wake = take(deadlines_.begin()->second)) woken.push_back(std::move(*wake));
    }
    if (!deadlines_.empty()) next = deadlines_.begin()->first;
  }
  for (const auto& wake : woken) wake(Wake::timed_out);
  return next;
}

void Mailboxes::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto next = expire();
    std::unique_lock lock(mutex_);
    const auto is_earlier = [&] {
      return !deadlines_.empty() && (!next || deadlines_.begin()->first < *next);
    };
    if (next) {
      earlier_.wait_until(lock, stop, *next, is_earlier);
    } else {
      earlier_.wait(lock, stop, is_earlier);
    }
  }
}

std::size_t Mailboxes::parked() const {
  const std::lock_guard lock(mutex_);
  return waiters_.size();
}

}  // namespace agenttask::server
