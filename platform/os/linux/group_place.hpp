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

}  // namespace agenttask::os
