#include "platform/os/signals.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <signal.h>
#include <stdexcept>
#include <sys/signalfd.h>
#include <thread>

#include "platform/os/posix/wait.hpp"

namespace agenttask::os {
namespace {

// What follows sooner was no person's decision: timeout(1) signals a process, and then its whole group.
constexpr std::chrono::milliseconds kSameWish{100};

// Blocks the signals for this thread and those it will start, and opens a descriptor that tells of them.
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

// The number of the next signal; nothing when `stop` asked.
std::optional<int> next_signal(const Descriptor& descriptor, const std::stop_token& stop) {
  const StopSignal stop_signal(stop);
  for (;;) {
    if (stop_signal.requested()) return std::nullopt;
    signalfd_siginfo info{};
    if (::read(descriptor.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      return static_cast<int>(info.ssi_signo);
    }
    wait_ready(descriptor.get(), POLLIN, std::nullopt, stop_signal);
  }
}

}  // namespace

std::string_view to_string(ServiceEvent event) {
  switch (event) {
    case ServiceEvent::terminate:
      return "terminate";
    case ServiceEvent::interrupt:
      return "interrupt";
    case ServiceEvent::reload:
      return "reload";
  }
  return "terminate";
}

struct ServiceEvents::State {
  Descriptor signals;
};

ServiceEvents::ServiceEvents() : state_(std::make_unique<State>(State{open_signals()})) {}
ServiceEvents::~ServiceEvents() = default;

std::optional<ServiceEvent> ServiceEvents::wait(const std::stop_token& stop) {
  const auto number = next_signal(state_->signals, stop);
  if (!number) return std::nullopt;
  if (*number == SIGHUP) return ServiceEvent::reload;
  return *number == SIGINT ? ServiceEvent::interrupt : ServiceEvent::terminate;
}

struct InterruptWatcher::State {
  Descriptor signals;
  std::jthread thread = {};  // last: it ends before the descriptor goes
};

InterruptWatcher::InterruptWatcher(std::function<void(int count)> on_interrupt)
    : state_(std::make_unique<State>(State{open_signals()})) {
  state_->thread = std::jthread([this, on_interrupt = std::move(on_interrupt)](const std::stop_token& stop) {
    int count = 0;
    std::chrono::steady_clock::time_point last;
    while (const auto number = next_signal(state_->signals, stop)) {
      const auto now = std::chrono::steady_clock::now();
      if (count > 0 && (*number != SIGINT || now - last < kSameWish)) continue;
      last = now;
      on_interrupt(++count);
    }
  });
}

InterruptWatcher::~InterruptWatcher() = default;

}  // namespace agenttask::os
