#pragma once
#include <chrono>
#include <optional>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/os/posix/stop_signal.hpp"

namespace agenttask::os {

/// Milliseconds from now for poll, rounded up; -1 (for ever) without a deadline.
[[nodiscard]] int poll_milliseconds(std::optional<MonotonicTime> deadline);

/// The moment `timeout` from now; none for a zero timeout.
[[nodiscard]] std::optional<MonotonicTime> deadline_after(std::chrono::milliseconds timeout);

enum class Wait { ready, timed_out, stopped };
/// Waits until the descriptor has one of the poll `events`, or hangs up. A stop goes before readiness.
Wait wait_ready(int descriptor, short events, std::optional<MonotonicTime> deadline, const StopSignal& stop);

}  // namespace agenttask::os
