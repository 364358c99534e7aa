#include "tests/bench/load/event_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <unistd.h>
#include <utility>

namespace agenttask::bench {

EventLoop::EventLoop() : descriptor_(epoll_create1(EPOLL_CLOEXEC)), batch_(512) {
  if (descriptor_ < 0) throw std::runtime_error("cannot make an epoll descriptor");
}

EventLoop::~EventLoop() {
  ::close(descriptor_);
}

void EventLoop::watch(int descriptor, std::uint32_t events, Watcher& watcher) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watcher;
  if (epoll_ctl(descriptor_, EPOLL_CTL_ADD, descriptor, &event) != 0)
    throw std::runtime_error("cannot watch a descriptor");
}

void EventLoop::change(int descriptor, std::uint32_t events, Watcher& watcher) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watcher;
  epoll_ctl(descriptor_, EPOLL_CTL_MOD, descriptor, &event);
}

void EventLoop::forget(int descriptor, const Watcher& watcher) {
  epoll_ctl(descriptor_, EPOLL_CTL_DEL, descriptor, nullptr);
  for (std::size_t i = 0; i < batch_size_; ++i) {
    if (batch_[i].data.ptr == &watcher) batch_[i].data.ptr = nullptr;
  }
}

void EventLoop::after(Milliseconds time, std::function<void()> action) {
  timers_.emplace(now() + time, std::move(action));
}

void EventLoop::later(std::function<void()> action) {
  later_.push_back(std::move(action));
}

int EventLoop::milliseconds_to_wait() const {
  if (!later_.empty()) return 0;
  if (timers_.empty()) return -1;
  const auto left = std::chrono::ceil<Milliseconds>(timers_.begin()->first - now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void EventLoop::run_timers() {
  const Time present = now();
  while (!timers_.empty() && timers_.begin()->first <= present) {
    const auto action = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    action();
  }
}

void EventLoop::run_later() {
  const auto actions = std::exchange(later_, {});
  for (const auto& action : actions) action();
}

void EventLoop::run() {
  while (!stopped_) {
    const int count =
        epoll_wait(descriptor_, batch_.data(), static_cast<int>(batch_.size()), milliseconds_to_wait());
    if (count < 0 && errno != EINTR) throw std::runtime_error("epoll_wait failed");
    batch_size_ = static_cast<std::size_t>(std::max(count, 0));
    for (std::size_t i = 0; i < batch_size_ && !stopped_; ++i) {
      if (auto* watcher = static_cast<Watcher*>(batch_[i].data.ptr)) watcher->ready(batch_[i].events);
    }
    batch_size_ = 0;
    run_timers();
    run_later();
  }
}

}  // namespace agenttask::bench
