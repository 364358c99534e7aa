#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#include <windows.h>

namespace agenttask::os {

/// The conversation with the service manager that started this process. Windows knows one for each process
/// and calls its parts without a context, so it is found by `current`. Private to platform/os/windows.
/// Threads: any.
class ServiceSession {
 public:
  using Body = std::function<int(std::vector<std::string> arguments)>;

  /// Whether the service manager started this process.
  [[nodiscard]] static bool is_wanted();
  /// Runs `body` as a service: start pending, until `running`; stop pending, from `stopping` or the manager's
  /// wish on; stopped with its exit code when it returns. False when the manager does not want to speak with
  /// us after all; then `body` was not called.
  static bool run(const Body& body, std::vector<std::string> arguments, int& exit_code);
  /// The one that runs now; null: none does.
  [[nodiscard]] static ServiceSession* current();

  void running();
  /// `most`: how long it may take; zero: not known.
  void stopping(std::chrono::milliseconds most = {});

 private:
  ServiceSession(const Body& body, std::vector<std::string> arguments);
  static void WINAPI main(DWORD count, wchar_t** words);
  static DWORD WINAPI control(DWORD control, DWORD type, void* data, void* session);
  void serve(DWORD count, wchar_t** words);
  void report(DWORD state);
  void keep_manager_waiting(const std::stop_token& stop);

  const Body& body_;
  std::vector<std::string> arguments_;
  int exit_code_ = 0;
  std::mutex mutex_;
  SERVICE_STATUS_HANDLE handle_ = nullptr;
  SERVICE_STATUS status_{};
  std::condition_variable_any changed_;
  std::chrono::milliseconds longest_;  ///< that the manager is asked to wait for a change of state
  std::jthread patience_;              ///< tells the manager while we start and stop that we are at it
};

}  // namespace agenttask::os
