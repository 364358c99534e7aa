#pragma once
#include <chrono>
#include <functional>

namespace agenttask {

/// Exponential back-off with full jitter: the n-th wait is drawn evenly from [0, min(limit, first * 2^n)], so
/// that a fleet that lost its server together does not come back together. Threads: one owner.
class Backoff {
 public:
  using Fraction = std::function<double()>;  ///< draws from [0, 1)

  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds limit, Fraction fraction);

  /// The next wait. `at_least` is what the other side asked for (Retry-After): it is added to, never
  /// undercut.
  [[nodiscard]] std::chrono::milliseconds next(std::chrono::milliseconds at_least = {});
  /// After a success: the next failure starts from the beginning.
  void reset() { attempts_ = 0; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds limit_;
  Fraction fraction_;
  unsigned attempts_ = 0;
};

}  // namespace agenttask
