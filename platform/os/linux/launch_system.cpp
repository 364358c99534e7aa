#include "platform/os/posix/launch_system.hpp"

#include <cerrno>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace agenttask::os {

bool become(const gid_t* groups, std::size_t group_count, gid_t group, uid_t user) {
  return ::syscall(SYS_setgroups, group_count, groups) == 0 &&
         ::syscall(SYS_setresgid, group, group, group) == 0 &&
         ::syscall(SYS_setresuid, user, user, user) == 0;
}

bool close_on_exec_from(int first, int limit) {
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, CLOSE_RANGE_CLOEXEC) == 0) return true;
  if (errno != ENOSYS && errno != EINVAL) return false;
  for (int descriptor = first; descriptor < limit; ++descriptor) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return true;
}

}  // namespace agenttask::os
