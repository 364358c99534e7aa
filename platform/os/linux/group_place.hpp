#pragma once
#include <filesystem>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// The parts of /proc/self/cgroup and /proc/self/mountinfo that say where a process is, for tests.
struct GroupPlace {
  std::filesystem::path top;     ///< where the hierarchy is mounted
  std::filesystem::path folder;  ///< the process's own group in it
};
/// `unsupported` where there is no control group of version 2, or it is not to be seen from here.
[[nodiscard]] Result<GroupPlace> find_group_place(std::string_view self_cgroup, std::string_view mountinfo);

/// The folder's name, or two names (`RUN/PART`), for a run; empty for an id that makes no name.
[[nodiscard]] std::filesystem::path group_name(std::string_view run_id);

/// Whether a folder called `folder` is the group called `group`, or one more of that name, which has a number
/// behind it. A unit of the service manager may be called so, too: in that is the run's recorder.
[[nodiscard]] bool is_group_called(std::string_view folder, std::string_view group);

/// Whether what we start ends with our service, as systemd runs the system, we are in a unit of its, and
/// can't move anything out of that.
[[nodiscard]] bool is_held_by_service();

}  // namespace agenttask::os
