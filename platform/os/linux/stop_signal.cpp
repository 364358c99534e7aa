#include "platform/os/posix/stop_signal.hpp"

#include <cstdint>
#include <sys/eventfd.h>

namespace agenttask::os {

StopSignal::StopSignal(const std::stop_token& stop) : stop_(stop) {
  if (!stop_.stop_possible()) return;
  event_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (event_.is_open()) callback_.emplace(stop_, Raise{event_.get()});
}

void StopSignal::Raise::operator()() const {
  const std::uint64_t one = 1;
  // It can only fail when the counter is full, and then poll is awake already.
  [[maybe_unused]] const auto written = ::write(descriptor, &one, sizeof one);
}

}  // namespace agenttask::os
