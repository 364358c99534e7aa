#pragma once
#include <optional>
#include <string>
#include <string_view>
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

/// Whether ids like this belong to people: at least `least_id`, and neither handed out by the service manager
/// (61184 to 65519), nor nobody's (65534, 65535, and the two highest of all).
[[nodiscard]] bool is_person(uid_t id, uid_t least_id);
/// UID_MIN in `text`, the contents of /etc/login.defs; 1000 where it is not said.
[[nodiscard]] uid_t least_person_id(std::string_view text);

/// The group's id; `not_found` when there is none.
[[nodiscard]] Result<gid_t> find_group(const std::string& name);
/// The group's name; its number where it has none.
[[nodiscard]] std::string group_name(gid_t id);

}  // namespace agenttask::os
