#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/os/posix/users.hpp"

namespace agenttask::os {

/// One child to start. All of it is ready before the fork: the child only makes system calls. Private to
/// platform/os.
struct LaunchRequest {
  std::string executable;
  std::vector<std::string> argv;
  std::vector<std::string> environment;  ///< NAME=value
  std::string cwd;
  std::optional<User> user;
  std::vector<gid_t> groups;  ///< of `user`
  int standard_input = -1;    ///< all three at least 3
  int standard_output = -1;
  int standard_error = -1;
  int record = -1;                         ///< where the child writes who it is; -1: nowhere
  std::optional<std::uint64_t> mark = {};  ///< see `inherit_mark`
  int group = -1;  ///< the folder of the control group that it begins in; -1: it stays in ours
};

/// A child that is running the program.
struct Launched {
  pid_t pid = 0;
  int group_error = 0;  ///< why it is not in its control group; 0: it is, or was to be in none
};

/// Starts it in a session of its own, with default signals, no other descriptor, umask 022. Errors as in
/// `ProcessSupervisor::run`; then no child is left. Threads: any.
[[nodiscard]] Result<Launched> launch(const LaunchRequest& request);

/// Whether a child could be started now: a process that does nothing is, and descriptors are opened that a
/// run needs. `unavailable` where something is short. Threads: any.
[[nodiscard]] Result<void> check_launch();

}  // namespace agenttask::os
