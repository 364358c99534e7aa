#pragma once
#include <atomic>
#include <mutex>
#include <string>

#include "platform/os/signals.hpp"

namespace agenttask::console {

/// Ctrl-C as verbs need it: the first is a wish that the verb carries out, the second leaves at once and says
/// how to go on. A terminate and a hang-up count as the first Ctrl-C, never as a second. Made before any
/// thread starts; one at a time.
class Interrupts {
 public:
  /// `leaves_at`: how many presses end the program. 1 where a verb has nothing to carry out.
  explicit Interrupts(int leaves_at = 2);
  void set_leaves_at(int count) { leaves_at_.store(count); }
  /// How often it was pressed.
  [[nodiscard]] int count() const { return count_.load(); }
  /// What the second one prints before it leaves.
  void set_farewell(std::string text);

 private:
  void on_interrupt(int count);

  std::atomic<int> count_{0};
  std::atomic<int> leaves_at_;
  std::mutex mutex_;
  std::string farewell_;
  os::InterruptWatcher watcher_;  ///< last: it calls what is above
};

}  // namespace agenttask::console
