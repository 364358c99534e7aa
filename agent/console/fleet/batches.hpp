#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/fleet/fleet.hpp"
#include "agent/console/fleet/target_words.hpp"

/// One task for many devices, as the fleet verbs ask for it and wait for it.
namespace agenttask::console {

// Exit codes of a batch that was waited for: 0 where all its tasks are complete, as follows where not, 130
// where Ctrl-C cancelled it, and 125 where AgentTask could not do it or see its end.
constexpr int kNotAllComplete = 1;

/// What an enqueue for many devices needs besides the task.
struct BatchWish {
  TargetWords target;
  nlohmann::json task;  ///< the body of addTask
  std::string idempotency_key;
  bool wait = false;
};

/// Enqueues it and prints its id, waits for all of it, or lists whom it would be for. Returns the exit code.
[[nodiscard]] int enqueue_batch(const Fleet& fleet, BatchWish wish);

/// Waits until all tasks of a batch have ended, with a line now and then on standard error, and says what
/// came of it. `cancel`: on the first Ctrl-C, as this call made it; else Ctrl-C leaves it. Returns the exit
/// code.
[[nodiscard]] int follow_batch(const Fleet& fleet, const std::string& id, bool cancel);

/// `3 complete, 1 failed, 2 pending`: what there is.
[[nodiscard]] std::string describe_counts(const nlohmann::json& batch);

}  // namespace agenttask::console
