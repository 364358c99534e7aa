#pragma once
#include <condition_variable>
#include <mutex>

#include "platform/base/clock.hpp"

namespace agenttask::server {

/// Wakes one thread that sleeps until it is needed. A ring while it is awake is kept. Threads: any may ring.
class Bell {
 public:
  void ring() {
    {
      const std::scoped_lock lock(mutex_);
      rung_ = true;
    }
    heard_.notify_one();
  }
  /// Until somebody rings, at the latest at `until`; forgets the ring.
  void wait_until(MonotonicTime until) {
    std::unique_lock lock(mutex_);
    heard_.wait_until(lock, until, [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  bool rung_ = false;
};

}  // namespace agenttask::server
