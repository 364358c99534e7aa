#pragma once
#include <chrono>
#include <functional>
#include <thread>

namespace agenttask {

/// Gives a sign of life twice in each `time` from a thread of its own, after `look` has returned: where that
/// hangs, the service manager hears nothing and starts us anew. Without a time there is no thread.
class Watchdog {
 public:
  Watchdog(std::chrono::microseconds time, std::function<void()> look, std::function<void()> alive);

 private:
  std::jthread thread_;
};

}  // namespace agenttask
