#include "platform/os/posix/stop_signal.hpp"

#include <fcntl.h>
#include <sys/event.h>

namespace agenttask::os {
namespace {
constexpr uintptr_t kStop = 1;
}

// A queue with one event of our own, which nobody takes out: once raised, it stays readable.
StopSignal::StopSignal(const std::stop_token& stop) : stop_(stop) {
  if (!stop_.stop_possible()) return;
  event_ = Descriptor(::kqueue());
  struct kevent event {};
  EV_SET(&event, kStop, EVFILT_USER, EV_ADD, 0, 0, nullptr);
  if (!event_.is_open() || ::fcntl(event_.get(), F_SETFD, FD_CLOEXEC) != 0 ||
      ::kevent(event_.get(), &event, 1, nullptr, 0, nullptr) != 0) {
    event_.close();
    return;
  }
  callback_.emplace(stop_, Raise{event_.get()});
}

void StopSignal::Raise::operator()() const {
  struct kevent event {};
  EV_SET(&event, kStop, EVFILT_USER, 0, NOTE_TRIGGER, 0, nullptr);
  (void)::kevent(descriptor, &event, 1, nullptr, 0, nullptr);
}

}  // namespace agenttask::os
