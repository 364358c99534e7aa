#include "platform/os/posix/signal_source.hpp"

#include <cerrno>
#include <signal.h>
#include <stdexcept>
#include <sys/signalfd.h>

#include "platform/base/error.hpp"

namespace agenttask::os {

// Blocks the signals for this thread and those it will start.
Descriptor open_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, number);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Descriptor descriptor(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!descriptor.is_open()) {
    throw std::runtime_error(io_error("cannot listen to signals", errno).message);
  }
  return descriptor;
}

std::optional<int> take_signal(const Descriptor& signals) {
  signalfd_siginfo info{};
  if (::read(signals.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace agenttask::os
