#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <sys/epoll.h>
#include <vector>

namespace agenttask::bench {

using Time = std::chrono::steady_clock::time_point;
using Milliseconds = std::chrono::milliseconds;

[[nodiscard]] inline Time now() {
  return std::chrono::steady_clock::now();
}

/// Whoever waits for a descriptor.
class Watcher {
 public:
  virtual void ready(std::uint32_t events) = 0;

 protected:
  ~Watcher() = default;
};

/// epoll with timers: all of the load runs on one thread, in callbacks of this.
class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// `watcher` stays until `forget`, which may be called in any callback.
  void watch(int descriptor, std::uint32_t events, Watcher& watcher);
  void change(int descriptor, std::uint32_t events, Watcher& watcher);
  void forget(int descriptor, const Watcher& watcher);

  void after(Milliseconds time, std::function<void()> action);
  /// Once the present callback is over: what ends an object does it here, never below its own feet.
  void later(std::function<void()> action);

  void run();  ///< until stop()
  void stop() { stopped_ = true; }

 private:
  void run_timers();
  void run_later();
  [[nodiscard]] int milliseconds_to_wait() const;

  int descriptor_;
  bool stopped_ = false;
  std::vector<epoll_event> batch_;
  std::size_t batch_size_ = 0;
  std::multimap<Time, std::function<void()>> timers_;
  std::vector<std::function<void()>> later_;
};

}  // namespace agenttask::bench
