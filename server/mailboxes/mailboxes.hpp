#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "platform/base/clock.hpp"

namespace agenttask::server {

/// Who waits for what. A waiter is parked under the keys of what it waits for (`node:<id>`, `task:<id>`,
/// `output:<task id>`) and woken once: when one of them is touched, or when its deadline passes.
///
/// No wake-up is lost: whoever evaluates takes a `Moment` *before* it reads, and parks with it. A touch that
/// came after that moment wakes it at once, although nobody was parked then. (Touches are remembered in a
/// table of fixed size, by hash: two keys that share a slot cost an evaluation too many, never one too few.)
///
/// Threads: any. Callbacks run on the thread that touches, expires or parks, outside of the lock, so they may
/// call back in; they must be short. Crash: nothing here survives, and nothing needs to: devices and
/// operators ask again.
class Mailboxes {
 public:
  enum class Wake : std::uint8_t { touched, timed_out };
  using Moment = std::uint64_t;
  using WaiterId = std::uint64_t;
  using Callback = std::function<void(Wake)>;

  explicit Mailboxes(const Clock& clock);

  /// Before an evaluation that may end in `park`.
  [[nodiscard]] Moment moment() const;

  /// Parks until one of `keys` is touched after `since` or `until` passes. `wake` is called exactly once,
  /// perhaps before this returns, unless `cancel` says true. `joins`: it will write, and `join` wakes it too.
  WaiterId park(const std::vector<std::string>& keys, Moment since, MonotonicTime until, Callback wake,
                bool joins = false);

  /// Forgets a waiter. True: it was parked and `wake` will never be called; false: it was woken already.
  bool cancel(WaiterId waiter);

  /// Wakes who waits for one of `keys`, those first who parked first. O(log n) for each.
  void touch(std::span<const std::string> keys);
  void touch(std::string_view key);

  /// Wakes, as touched, those of them who were parked to join: `keys` will be touched by a commit that has
  /// not begun yet, and what they write now goes into it.
  void join(std::span<const std::string> keys);

  /// Wakes everybody, as timed out: the server stops.
  void expire_all();

  /// Wakes every waiter whose deadline is not after the clock's time; says when the next one is due.
  std::optional<MonotonicTime> expire();

  /// Calls `expire` whenever a deadline is due, until stopped. Sleeps otherwise. Needs a real clock.
  void run(const std::stop_token& stop);

  [[nodiscard]] std::size_t parked() const;

 private:
  /// Of a key: many wait, and its text would be the most that each of them takes. Two keys that share one are
  /// woken together, which costs an evaluation too many.
  using KeyHash = std::uint64_t;
  struct Waiter {
    std::vector<KeyHash> keys;
    MonotonicTime until;
    Callback wake;
    bool joins;
  };
  static constexpr std::size_t kTouchSlots = 1 << 14;

  [[nodiscard]] static KeyHash hash(std::string_view key);
  [[nodiscard]] static std::size_t slot(KeyHash key) { return key % kTouchSlots; }
  std::optional<Callback> take(WaiterId waiter);  // with the lock held
  enum class Whom : std::uint8_t { all, joining };
  void take_all(KeyHash key, Whom whom, std::vector<Callback>& woken);  // with the lock held

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable_any earlier_;
  Moment moment_ = 0;
  WaiterId next_ = 1;
  std::vector<Moment> touched_ = std::vector<Moment>(kTouchSlots);
  std::unordered_map<WaiterId, Waiter> waiters_;
  std::set<std::pair<KeyHash, WaiterId>> by_key_;
  std::set<std::pair<MonotonicTime, WaiterId>> deadlines_;
};

}  // namespace agenttask::server
