#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "platform/protocol/task.hpp"

namespace agenttask::server {

struct LiveChunk {
  std::int64_t run = 1;
  OutputChunk chunk;
};

/// Somebody who follows a task's output. Letting go of it ends the following. Threads: one at a time.
class OutputFollower {
 public:
  virtual ~OutputFollower() = default;
  /// What came since the last call, in order of arrival. Bounded: when the reader is too slow the oldest are
  /// dropped, and the kept output, which comes with the run's end, fills the gap.
  [[nodiscard]] virtual std::vector<LiveChunk> take() = 0;
};

/// Live output passing through, from devices to whoever follows; never stored. `server/mailboxes` implements
/// it. Threads: any.
class LiveOutput {
 public:
  virtual ~LiveOutput() = default;
  /// From now on chunks of this task are kept for the follower, and the task is watched. Touches `node:<id>`,
  /// so that the device's parked poll is answered with the new list; so does the end of the last follower of
  /// a task.
  [[nodiscard]] virtual std::unique_ptr<OutputFollower> follow(std::string_view node_id,
                                                               std::string_view task_id) = 0;
  /// Tasks of this node that somebody follows, sorted.
  [[nodiscard]] virtual std::vector<std::string> watched(std::string_view node_id) const = 0;
  /// Hands chunks to the followers and touches `output:<task id>`. False: nobody watches.
  virtual bool publish(std::string_view node_id, std::string_view task_id, std::vector<LiveChunk> chunks) = 0;
};

}  // namespace agenttask::server
