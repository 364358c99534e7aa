#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"
#include "agent/console/interrupts.hpp"
#include "agent/console/task_view.hpp"

namespace agenttask::console {

/// What the first Ctrl-C does while a task is followed.
enum class OnInterruptKey : std::uint8_t {
  cancel,  ///< cancels the task: this call created it
  detach,  ///< leaves it alone
};

struct FollowWish {
  std::string call;  ///< createTask, watch or runTask
  OnInterruptKey on_interrupt = OnInterruptKey::detach;
  bool print_output = true;   ///< as it comes; never with --json
  bool print_events = false;  ///< with --json: each event, a line
  bool progress = true;       ///< say on standard error why it waits
};

/// How following ended: the task has ended, or we left it, or it failed.
struct FollowEnd {
  std::optional<TaskView> view;  ///< the ended task; of runTask it may go on
  std::optional<RunView> run;    ///< of runTask: what was followed
  std::string json;              ///< the same, as it came
  std::string id;                ///< empty: not even created
  bool cancelled_here = false;
  bool detached = false;
  bool nobody_reads = false;  ///< standard output was closed
  std::optional<Problem> problem;
};

/// Follows a task of this device until it ends.
[[nodiscard]] FollowEnd follow_local(const Console& console, Interrupts& interrupts, const FollowWish& wish,
                                     const nlohmann::json& arguments);

/// The rest of every verb that follows: prints what is left to say, returns the exit code.
[[nodiscard]] int finish_follow(const Console& console, const FollowEnd& end);

}  // namespace agenttask::console
