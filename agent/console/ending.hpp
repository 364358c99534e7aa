#pragma once
#include <string>

#include "agent/console/console.hpp"

namespace agenttask::console {

/// What cancel and delete take.
struct EndingWords {
  std::string id;
  bool no_wait = false;
};
void add_ending_options(CLI::App& verb, EndingWords& words);

/// cancelTask or deleteTask, then waits until a run that was asked to stop has ended, and says what became of
/// it. Returns the exit code: success when the task has ended, however it did.
[[nodiscard]] int end_task(const Console& console, const std::string& call, const EndingWords& words);

}  // namespace agenttask::console
