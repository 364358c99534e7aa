#include "platform/base/watchdog.hpp"

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

namespace agenttask {

Watchdog::Watchdog(std::chrono::microseconds time, std::function<void()> look, std::function<void()> alive) {
  if (time.count() <= 0) return;
  thread_ =
      std::jthread([time, look = std::move(look), alive = std::move(alive)](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any asked_to_stop;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
          look();
          alive();
          asked_to_stop.wait_for(lock, stop, time / 2, [] { return false; });
        }
      });
}

}  // namespace agenttask
