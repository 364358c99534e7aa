#include "platform/os/signals.hpp"

#include <chrono>
#include <poll.h>
#include <signal.h>
#include <thread>

#include "platform/os/posix/signal_source.hpp"
#include "platform/os/posix/wait.hpp"

namespace agenttask::os {
namespace {

// What follows sooner was no person's decision: timeout(1) signals a process, and then its whole group.
constexpr std::chrono::milliseconds kSameWish{100};

// The number of the next signal; nothing when `stop` asked.
std::optional<int> next_signal(const Descriptor& descriptor, const std::stop_token& stop) {
  const StopSignal stop_signal(stop);
  for (;;) {
    if (stop_signal.requested()) return std::nullopt;
    if (const auto number = take_signal(descriptor)) return number;
    wait_ready(descriptor.get(), POLLIN, std::nullopt, stop_signal);
  }
}

}  // namespace

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
