#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

/// What came out of a followed task since the last look.
struct FollowedOutput {
  std::int64_t run = 0;  ///< the run that `chunks` are of; 0 while none has started
  std::vector<OutputChunk>
      chunks;               ///< each stream in order; where an offset jumps, what lay between is not kept
  bool run_ended = false;   ///< `run` has ended and this was the last of its output; another run may follow
  bool task_ended = false;  ///< the end: the ledger has the task's result
};

/// Whether a run waits for who follows it.
enum class Pace : std::uint8_t {
  of_the_run,  ///< never: a slow follower misses the middle of what is not kept
  shared,      ///< a little: a follower that keeps reading misses nothing; one that stops is not waited for
};

/// Follows the output of one task, from the beginning as far as it is kept, through all its runs to its end.
///
/// A follower holds no output: it reads where the run keeps it, at its own pace. One that is slower than the
/// output misses what was dropped from the middle meanwhile, and never holds up the run (but see `Pace`).
/// Threads: one at a time.
class Follower {
 public:
  virtual ~Follower() = default;
  /// Waits until there is something new, `at_most` passed, or `stop` was requested; then an empty answer. At
  /// most 256 KiB at a time.
  [[nodiscard]] virtual Result<FollowedOutput> next(std::chrono::milliseconds at_most,
                                                    std::stop_token stop) = 0;
};

}  // namespace agenttask::agent
