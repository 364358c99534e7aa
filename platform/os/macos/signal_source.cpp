#include "platform/os/posix/signal_source.hpp"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <stdexcept>
#include <sys/event.h>

#include "platform/base/error.hpp"

namespace agenttask::os {

Descriptor open_signals() {
  constexpr std::array kSignals = {SIGTERM, SIGINT, SIGHUP};
  Descriptor queue(::kqueue());
  std::array<struct kevent, kSignals.size()> wanted{};
  for (std::size_t at = 0; at < kSignals.size(); ++at) {
    EV_SET(&wanted[at], static_cast<uintptr_t>(kSignals[at]), EVFILT_SIGNAL, EV_ADD, 0, 0, nullptr);
  }
  if (!queue.is_open() || ::fcntl(queue.get(), F_SETFD, FD_CLOEXEC) != 0 ||
      ::kevent(queue.get(), wanted.data(), static_cast<int>(wanted.size()), nullptr, 0, nullptr) != 0) {
    throw std::runtime_error(io_error("cannot listen to signals", errno).message);
  }
  // The queue is told before the signal does anything, also where that is nothing.
  for (const int number : kSignals) ::signal(number, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  return queue;
}

std::optional<int> take_signal(const Descriptor& signals) {
  struct kevent event {};
  const timespec now{};
  if (::kevent(signals.get(), nullptr, 0, &event, 1, &now) != 1) return std::nullopt;
  return static_cast<int>(event.ident);
}

}  // namespace agenttask::os
