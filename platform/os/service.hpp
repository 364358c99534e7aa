#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// What a program owes its service manager.
namespace agenttask::os {

/// The frame of every `main`: makes sure that the three standard streams are open (a file opened later must
/// not become one of them), ignores SIGPIPE, gives the arguments without the program's name in UTF-8, and
/// turns an exception that nobody caught into a message and exit code 125. On Windows a program started by
/// the service manager also speaks with it.
int run_program(int argc, char** argv, const std::function<int(std::vector<std::string> arguments)>& body);

/// Tells the service manager where we are: systemd's NOTIFY_SOCKET and WATCHDOG_USEC; silent where nobody
/// asked. Failures are ignored: the manager has its own timeouts. Threads: any. The variables are taken out
/// of our environment at construction, which therefore belongs before the first thread.
class ServiceNotifier {
 public:
  ServiceNotifier();

  void ready(std::string_view status) const;
  void reloading() const;  ///< follow it by `ready`
  /// `most`: how long it may take, for a manager that would otherwise lose patience; zero: nothing is said.
  void stopping(std::string_view status, std::chrono::microseconds most = {}) const;
  void status(std::string_view status) const;
  /// How long the manager waits for a sign of life before it takes us for dead; zero: it does not.
  [[nodiscard]] std::chrono::microseconds watchdog_time() const { return watchdog_time_; }
  void alive() const;  ///< a sign of life

 private:
  void send(std::string_view state, std::string_view status) const;
  std::string address_;
  std::chrono::microseconds watchdog_time_{0};
};

}  // namespace agenttask::os
