#pragma once
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// A user as the system's databases know it. Private to platform/os.
struct User {
  std::string name;
  uid_t id = 0;
  gid_t group = 0;
  std::string home;
  std::string shell;
};

/// `not_found` when there is no such user.
[[nodiscard]] Result<User> find_user(const std::string& name);
[[nodiscard]] std::optional<User> find_user(uid_t id);
/// All groups of the user, its own first among them. Reads the databases: never between vfork and exec.
[[nodiscard]] std::vector<gid_t> groups_of(const User& user);

/// The group's id; `not_found` when there is none.
[[nodiscard]] Result<gid_t> find_group(const std::string& name);
/// The group's name; its number where it has none.
[[nodiscard]] std::string group_name(gid_t id);

}  // namespace agenttask::os
