#include "platform/os/host.hpp"

#include <algorithm>
#include <cerrno>
#include <libproc.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <vector>

#include "platform/base/encoding.hpp"

namespace agenttask::os {
namespace {

utsname system_facts() {
  utsname facts{};
  ::uname(&facts);
  return facts;
}

// A text that the kernel keeps under this name; empty when it has none.
std::string kernel_text(const char* name) {
  std::size_t size = 0;
  if (::sysctlbyname(name, nullptr, &size, nullptr, 0) != 0 || size == 0) return {};
  std::string text(size, '\0');
  if (::sysctlbyname(name, text.data(), &size, nullptr, 0) != 0) return {};
  text.resize(std::min(size, text.size()));
  text.resize(std::min(text.find('\0'), text.size()));
  return is_utf8(text) ? text : std::string();
}

std::int64_t to_milliseconds(const timeval& time) {
  return std::int64_t{time.tv_sec} * 1000 + time.tv_usec / 1000;
}

std::int64_t count_open_files() {
  constexpr int kAtOnce = 1024;
  constexpr int kEntry = static_cast<int>(sizeof(proc_fdinfo));
  for (std::vector<proc_fdinfo> files(kAtOnce);; files.resize(files.size() * 2)) {
    const int room = static_cast<int>(files.size()) * kEntry;
    const int bytes = ::proc_pidinfo(::getpid(), PROC_PIDLISTFDS, 0, files.data(), room);
    if (bytes <= 0) return 0;
    if (bytes < room) return bytes / kEntry;
  }
}

}  // namespace

std::string platform_name() {
  return std::string("macos-") + system_facts().machine;
}

std::string system_description() {
  const auto facts = system_facts();
  const auto version = kernel_text("kern.osproductversion");
  return (version.empty() ? std::string("macOS") : "macOS " + version) + ", " + facts.sysname + " " +
         facts.release;
}

// Not the time of the boot: that moves when the clock is set.
std::string boot_id() {
  return kernel_text("kern.bootsessionuuid");
}

Result<ResourceUsage> own_usage() {
  rusage_info_v0 memory{};
  if (::proc_pid_rusage(::getpid(), RUSAGE_INFO_V0, reinterpret_cast<rusage_info_t*>(&memory)) != 0) {
    return io_error("cannot tell what this process uses", errno);
  }
  ResourceUsage usage;
  usage.resident_bytes = memory.ri_resident_size;
  // What the system counts against a process; some of it may be compressed, and so not resident.
  usage.private_bytes = std::min(memory.ri_phys_footprint, memory.ri_resident_size);
  proc_taskinfo task{};
  if (::proc_pidinfo(::getpid(), PROC_PIDTASKINFO, 0, &task, sizeof task) == static_cast<int>(sizeof task)) {
    usage.threads = task.pti_threadnum;
  }
  rusage times{};
  ::getrusage(RUSAGE_SELF, &times);
  usage.cpu_milliseconds = to_milliseconds(times.ru_utime) + to_milliseconds(times.ru_stime);
  usage.open_files = count_open_files();
  return usage;
}

}  // namespace agenttask::os
