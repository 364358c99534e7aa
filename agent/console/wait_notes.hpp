#pragma once
#include <chrono>
#include <string>
#include <string_view>

#include "agent/console/schedule_text.hpp"
#include "agent/console/screen.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::console {

/// Says on standard error why a task that is followed does not start, once it has waited a second for a
/// reason.
class WaitNotes {
 public:
  /// `verbs`: how a choice that it waits for is made.
  WaitNotes(const Screen& screen, bool enabled, std::string_view verbs = kLocalVerbs)
      : screen_(screen), enabled_(enabled), verbs_(verbs) {}
  /// The task as it is now.
  void state(const Task& task);
  /// Something of it was printed: it runs.
  void silence() { pending_.clear(); }
  /// Call it every now and then: says what is due.
  void tick();

 private:
  const Screen& screen_;
  bool enabled_;
  std::string_view verbs_;
  std::string pending_;  ///< what to say when the second is over
  std::string said_;
  std::chrono::steady_clock::time_point since_;
};

}  // namespace agenttask::console
