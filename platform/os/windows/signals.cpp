#include "platform/os/signals.hpp"

#include <chrono>
#include <thread>
#include <windows.h>

#include "platform/os/windows/control_events.hpp"
#include "platform/os/windows/service_session.hpp"

namespace agenttask::os {
namespace {

// What follows sooner was no person's decision.
constexpr std::chrono::milliseconds kSameWish{100};
constexpr std::size_t kMostWaiting = 64;

BOOL WINAPI on_console_control(DWORD control) {
  auto& events = ControlEvents::of_this_process();
  switch (control) {
    case CTRL_C_EVENT:
    case CTRL_BREAK_EVENT:
      events.put(ServiceEvent::interrupt);
      return TRUE;
    case CTRL_LOGOFF_EVENT:
      // Every service hears of every user that logs off.
      if (ServiceSession::current() != nullptr) return TRUE;
      break;
    default:
      break;
  }
  if (control == CTRL_SHUTDOWN_EVENT && ServiceSession::current() != nullptr)
    return TRUE;  // the manager tells us
  events.put(ServiceEvent::terminate);
  // The system ends the process when this returns, and some seconds later in any case.
  ::Sleep(INFINITE);
  return TRUE;
}

}  // namespace

ControlEvents& ControlEvents::of_this_process() {
  static ControlEvents events;
  return events;
}

void ControlEvents::listen() {
  ::SetConsoleCtrlHandler(&on_console_control, TRUE);
}

void ControlEvents::ignore() {
  ::SetConsoleCtrlHandler(&on_console_control, FALSE);
}

void ControlEvents::put(ServiceEvent event) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() < kMostWaiting) waiting_.push_back(event);
  changed_.notify_all();
}

std::optional<ServiceEvent> ControlEvents::wait(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, stop, [this] { return !waiting_.empty(); })) return std::nullopt;
  const ServiceEvent event = waiting_.front();
  waiting_.pop_front();
  return event;
}

struct ServiceEvents::State {};

ServiceEvents::ServiceEvents() {
  ControlEvents::of_this_process().listen();
}

ServiceEvents::~ServiceEvents() {
  ControlEvents::of_this_process().ignore();
}

std::optional<ServiceEvent> ServiceEvents::wait(const std::stop_token& stop) {
  return ControlEvents::of_this_process().wait(stop);
}

struct InterruptWatcher::State {
  std::jthread thread;
};

InterruptWatcher::InterruptWatcher(std::function<void(int count)> on_interrupt)
    : state_(std::make_unique<State>()) {
  ControlEvents::of_this_process().listen();
  state_->thread = std::jthread([on_interrupt = std::move(on_interrupt)](const std::stop_token& stop) {
    int count = 0;
    std::chrono::steady_clock::time_point last;
    while (const auto event = ControlEvents::of_this_process().wait(stop)) {
      const auto now = std::chrono::steady_clock::now();
      if (count > 0 && (*event != ServiceEvent::interrupt || now - last < kSameWish)) continue;
      last = now;
      on_interrupt(++count);
    }
  });
}

InterruptWatcher::~InterruptWatcher() {
  ControlEvents::of_this_process().ignore();
}

}  // namespace agenttask::os
