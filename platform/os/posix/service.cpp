#include "platform/os/service.hpp"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "platform/os/posix/open_descriptor.hpp"

namespace agenttask::os {
namespace {
constexpr const char* kVariable = "NOTIFY_SOCKET";
constexpr const char* kWatchdogVariable = "WATCHDOG_USEC";
constexpr const char* kWatchdogPidVariable = "WATCHDOG_PID";

std::int64_t number_in(const char* variable) {
  const char* text = std::getenv(variable);
  std::int64_t number = 0;
  if (text == nullptr) return 0;
  const char* end = text + std::strlen(text);
  const auto parsed = std::from_chars(text, end, number);
  return parsed.ec == std::errc() && parsed.ptr == end && number > 0 ? number : 0;
}

}  // namespace

ServiceNotifier::ServiceNotifier() {
  if (const char* address = std::getenv(kVariable)) address_ = address;
  const std::int64_t meant = number_in(kWatchdogPidVariable);
  if (meant == 0 || meant == ::getpid())
    watchdog_time_ = std::chrono::microseconds(number_in(kWatchdogVariable));
  for (const char* variable : {kVariable, kWatchdogVariable, kWatchdogPidVariable}) ::unsetenv(variable);
}

void ServiceNotifier::ready(std::string_view status) const {
  send("READY=1", status);
}

void ServiceNotifier::reloading() const {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.count()), "reloading the configuration");
}

void ServiceNotifier::stopping(std::string_view status, std::chrono::microseconds most) const {
  std::string state = "STOPPING=1";
  if (most.count() > 0) state += "\nEXTEND_TIMEOUT_USEC=" + std::to_string(most.count());
  send(state, status);
}

void ServiceNotifier::status(std::string_view status) const {
  send("", status);
}

void ServiceNotifier::alive() const {
  send("WATCHDOG=1", "");
}

void ServiceNotifier::send(std::string_view state, std::string_view status) const {
  sockaddr_un address{};
  if (address_.empty() || address_.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, address_.data(), address_.size());
  if (address_.front() == '@') address.sun_path[0] = '\0';  // an abstract address
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  const auto socket = open_unix_socket(SOCK_DGRAM);
  if (!socket.is_open()) return;
  std::string message(state);
  if (!status.empty()) {
    message += (message.empty() ? "STATUS=" : "\nSTATUS=") + std::string(status.substr(0, status.find('\n')));
  }
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0)
    (void)send_bytes(socket.get(), message);
}

}  // namespace agenttask::os
