#include "platform/os/posix/launch_system.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <libproc.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

namespace agenttask::os {

// There are no groups that hold processes.
bool enter(int) {
  errno = ENOTSUP;
  return false;
}

pid_t start_in_group(int, void (*)(void*), void*) {
  errno = ENOSYS;
  return -1;
}

// Here these are plain calls of the system, and a process, not a thread, has an identity. It keeps at most 16
// groups: one who is in more of them has less rights in a run, and never more.
bool become(const gid_t* groups, std::size_t group_count, gid_t group, uid_t user) {
  const auto kept = static_cast<int>(std::min<std::size_t>(group_count, NGROUPS_MAX));
  return ::setgroups(kept, groups) == 0 && ::setgid(group) == 0 && ::setuid(user) == 0;
}

// There is no limit of another process that anybody may look at, and so no such mark.
void inherit_mark(std::uint64_t) {}

// The number and the start, as `read_processes` knows them afterwards.
bool write_record(int descriptor) {
  const int pid = ::getpid();
  rusage_info_v0 facts{};
  if (::proc_pid_rusage(pid, RUSAGE_INFO_V0, reinterpret_cast<rusage_info_t*>(&facts)) != 0) return false;
  std::array<char, 64> line{};
  char* const end = line.data() + line.size();
  auto written = std::to_chars(line.data(), end, pid);
  *written.ptr++ = ' ';
  written = std::to_chars(written.ptr, end, facts.ri_proc_start_abstime);
  *written.ptr++ = '\n';
  const auto count = written.ptr - line.data();
  return ::write(descriptor, line.data(), static_cast<std::size_t>(count)) == count;
}

bool close_on_exec_from(int first, int limit) {
  constexpr int kMost = 4096;
  std::array<proc_fdinfo, kMost> open{};
  const int bytes = ::proc_pidinfo(::getpid(), PROC_PIDLISTFDS, 0, open.data(), sizeof open);
  const int count = bytes / static_cast<int>(sizeof(proc_fdinfo));
  if (bytes > 0 && count < kMost) {
    for (int at = 0; at < count; ++at) {
      if (open[at].proc_fd >= first) ::fcntl(open[at].proc_fd, F_SETFD, FD_CLOEXEC);
    }
    return true;
  }
  for (int descriptor = first; descriptor < limit; ++descriptor) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return true;
}

}  // namespace agenttask::os
