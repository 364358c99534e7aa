#include "platform/os/posix/launch_system.hpp"

#include <cerrno>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace agenttask::os {

bool become(const gid_t* groups, std::size_t group_count, gid_t group, uid_t user) {
  return ::syscall(SYS_setgroups, group_count, groups) == 0 &&
         ::syscall(SYS_setresgid, group, group, group) == 0 &&
         ::syscall(SYS_setresuid, user, user, user) == 0;
}

// The most that a program with real-time priority may compute without a pause: so high that nobody ever comes
// near it.
void inherit_mark(std::uint64_t mark) {
  const rlimit limit{mark, mark};
  ::syscall(SYS_prlimit64, 0, RLIMIT_RTTIME, &limit, nullptr);
}

bool write_record(int descriptor) {
  const int facts = ::open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (facts < 0) return errno == ENOENT;  // without /proc nothing could be found afterwards either
  char line[1024];
  const auto count = ::read(facts, line, sizeof line);
  ::close(facts);
  return count > 0 && ::write(descriptor, line, static_cast<std::size_t>(count)) == count;
}

bool close_on_exec_from(int first, int limit) {
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, CLOSE_RANGE_CLOEXEC) == 0) return true;
  if (errno != ENOSYS && errno != EINVAL) return false;
  for (int descriptor = first; descriptor < limit; ++descriptor) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return true;
}

}  // namespace agenttask::os
