#pragma once
#include <chrono>
#include <cstdint>

namespace agenttask {

/// Wall time: whole milliseconds since the Unix epoch, as on the wire, in the databases and in the API.
using UnixMilliseconds = std::int64_t;
/// A duration in whole milliseconds, as on the wire.
using DurationMilliseconds = std::int64_t;
/// Time that no setting of the clock can move: for timeouts and waits.
using MonotonicTime = std::chrono::steady_clock::time_point;

/// The three clocks, injected everywhere so that tests own time. Threads: any.
class Clock {
 public:
  virtual ~Clock() = default;
  /// The wall clock. May jump, in both directions.
  [[nodiscard]] virtual UnixMilliseconds wall() const = 0;
  /// Never goes back; may stand still while the machine sleeps.
  [[nodiscard]] virtual MonotonicTime monotonic() const = 0;
  /// Milliseconds since boot, sleep included: the grid of intervals runs on it within one boot.
  [[nodiscard]] virtual DurationMilliseconds since_boot() const = 0;
};

}  // namespace agenttask
