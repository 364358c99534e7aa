#include "platform/os/posix/wait.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <poll.h>

namespace agenttask::os {
namespace {
constexpr int kLookEveryMilliseconds = 50;
}

int poll_milliseconds(std::optional<MonotonicTime> deadline) {
  if (!deadline) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

std::optional<MonotonicTime> deadline_after(std::chrono::milliseconds timeout) {
  if (timeout.count() == 0) return std::nullopt;
  return std::chrono::steady_clock::now() + timeout;
}

Wait wait_ready(int descriptor, short events, std::optional<MonotonicTime> deadline, const StopSignal& stop) {
  for (;;) {
    std::array<pollfd, 2> watched{{{descriptor, events, 0}, {stop.descriptor(), POLLIN, 0}}};
    int milliseconds = poll_milliseconds(deadline);
    const bool slice = stop.needs_looking() && (milliseconds < 0 || milliseconds > kLookEveryMilliseconds);
    if (slice) milliseconds = kLookEveryMilliseconds;
    const int ready = ::poll(watched.data(), watched.size(), milliseconds);
    if (stop.requested()) return Wait::stopped;
    if (ready > 0 && watched[0].revents != 0) return Wait::ready;
    if (ready == 0 && !slice) return Wait::timed_out;
  }
}

}  // namespace agenttask::os
