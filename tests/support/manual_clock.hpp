#pragma once
#include <atomic>
#include <chrono>

#include "platform/base/clock.hpp"

namespace agenttask::test {

/// A clock that stands still until a test moves it; wall and monotonic time apart. Threads: any.
class ManualClock final : public Clock {
 public:
  static constexpr UnixMilliseconds kStart = 1'800'000'000'000;  // 2027-01-15

  [[nodiscard]] UnixMilliseconds wall() const override { return wall_; }
  [[nodiscard]] MonotonicTime monotonic() const override {
    return MonotonicTime(std::chrono::hours(24) + std::chrono::milliseconds(monotonic_ - slept_));
  }
  [[nodiscard]] DurationMilliseconds since_boot() const override { return monotonic_ - before_boot_; }

  /// Time passes.
  void advance(std::chrono::milliseconds by) {
    wall_ += by.count();
    monotonic_ += by.count();
  }
  /// The machine sleeps.
  void sleep(std::chrono::milliseconds by) {
    advance(by);
    slept_ += by.count();
  }
  /// The machine was off for a while, and has been up again for `since_boot`.
  void reboot(std::chrono::milliseconds off, std::chrono::milliseconds since_boot) {
    wall_ += off.count();
    before_boot_ = monotonic_.load() - since_boot.count();
  }
  /// Somebody sets the wall clock.
  void set_wall(UnixMilliseconds wall) { wall_ = wall; }

 private:
  std::atomic<UnixMilliseconds> wall_ = kStart;
  std::atomic<std::int64_t> monotonic_ = 0;
  std::atomic<std::int64_t> slept_ = 0;
  std::atomic<std::int64_t> before_boot_ = 0;
};

}  // namespace agenttask::test
