#include "platform/os/open_files.hpp"

#include <algorithm>
#include <sys/resource.h>
#include <sys/sysctl.h>

namespace agenttask::os {

// The limit that may be asked for is no limit at all, which the system then refuses: what it really gives a
// process stands elsewhere.
std::uint64_t raise_open_files_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  int most = 0;
  std::size_t size = sizeof most;
  if (::sysctlbyname("kern.maxfilesperproc", &most, &size, nullptr, 0) != 0 || most <= 0)
    return limit.rlim_cur;
  const auto before = limit.rlim_cur;
  limit.rlim_cur = std::min(limit.rlim_max, static_cast<rlim_t>(most));
  if (limit.rlim_cur <= before) return before;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

}  // namespace agenttask::os
