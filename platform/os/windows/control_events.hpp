#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>

#include "platform/os/signals.hpp"

namespace agenttask::os {

/// What the console and the service manager asked of this process. Their handlers are called by the system on
/// threads of its own, without a context: so there is one of these for the process, and it is the only thing
/// that the handlers touch. Private to platform/os/windows. Threads: any.
class ControlEvents {
 public:
  static ControlEvents& of_this_process();

  /// From now on the console's Ctrl-C, Ctrl-Break and close are heard; they end the process otherwise.
  void listen();
  void ignore();
  void put(ServiceEvent event);
  /// The next; nothing when `stop` asked.
  [[nodiscard]] std::optional<ServiceEvent> wait(const std::stop_token& stop);

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<ServiceEvent> waiting_;
};

}  // namespace agenttask::os
