#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "platform/base/error.hpp"

/// What the system asks of a program, as events instead of handlers.
namespace agenttask::os {

enum class ServiceEvent : std::uint8_t {
  terminate,  ///< SIGTERM; a stop of the Windows service
  interrupt,  ///< SIGINT: Ctrl-C
  reload,     ///< SIGHUP: read the configuration again
};
[[nodiscard]] std::string_view to_string(ServiceEvent event);

/// Turns SIGTERM, SIGINT and SIGHUP into events and ignores SIGPIPE. Made in `main` before any thread starts:
/// threads inherit the blocked signals. One at a time.
class ServiceEvents {
 public:
  ServiceEvents();
  ~ServiceEvents();
  ServiceEvents(const ServiceEvents&) = delete;
  ServiceEvents& operator=(const ServiceEvents&) = delete;

  /// Waits for the next event; nothing when `stop` asked. Threads: one.
  [[nodiscard]] std::optional<ServiceEvent> wait(const std::stop_token& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Tells a console about Ctrl-C (and a terminate or a hang-up). Made in `main` before any thread starts; also
/// ignores SIGPIPE. `on_interrupt` is called on a thread of the watcher with 1 for the first of them,
/// whichever it is, then with 2 and so on for each Ctrl-C that a person pressed after it: one that comes
/// within 100 ms is the same wish told twice, as timeout(1) tells a process and its group, and a repeated
/// terminate or hang-up asks for nothing new. It must not throw. What it does at 2 is usually `std::_Exit`.
/// Destroying it waits for a call that is under way.
class InterruptWatcher {
 public:
  explicit InterruptWatcher(std::function<void(int count)> on_interrupt);
  ~InterruptWatcher();
  InterruptWatcher(const InterruptWatcher&) = delete;
  InterruptWatcher& operator=(const InterruptWatcher&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::os
