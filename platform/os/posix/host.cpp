#include "platform/os/host.hpp"

#include <cerrno>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "platform/base/encoding.hpp"
#include "platform/os/posix/users.hpp"

namespace agenttask::os {

std::string host_name() {
  utsname facts{};
  ::uname(&facts);
  const std::string name = facts.nodename;
  return name.empty() || !is_utf8(name) ? "localhost" : name;
}

Result<std::uint64_t> free_disk_bytes(const std::filesystem::path& folder) {
  struct statvfs facts {};
  if (::statvfs(folder.c_str(), &facts) != 0) {
    return io_error("cannot tell the free space of " + folder.string(), errno);
  }
  return std::uint64_t{facts.f_bavail} * facts.f_frsize;
}

std::string current_user_name() {
  const auto user = find_user(::geteuid());
  return user ? user->name : std::to_string(::geteuid());
}

bool is_administrator() {
  return ::geteuid() == 0;
}

std::int64_t current_pid() {
  return ::getpid();
}

}  // namespace agenttask::os
