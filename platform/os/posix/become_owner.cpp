#include "platform/os/become_owner.hpp"

#include <cerrno>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "platform/os/posix/users.hpp"

namespace agenttask::os {

Result<void> become_owner_of(const std::filesystem::path& folder) {
  if (::geteuid() != 0) return {};
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    return io_error("cannot look at " + folder.string(), errno);
  }
  if (status.st_uid == 0) return {};
  const auto user = find_user(status.st_uid);
  const gid_t group = user ? user->group : status.st_gid;
  const std::vector<gid_t> groups = user ? groups_of(*user) : std::vector<gid_t>{group};
  if (::setgroups(groups.size(), groups.data()) != 0 || ::setgid(group) != 0 ||
      ::setuid(status.st_uid) != 0) {
    return io_error("cannot become the user " + std::to_string(status.st_uid) + ", whose folder " +
                        folder.string() + " is",
                    errno);
  }
  return {};
}

}  // namespace agenttask::os
