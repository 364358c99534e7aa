#include "platform/os/posix/users.hpp"

#include <cerrno>
#include <grp.h>
#include <pwd.h>

namespace agenttask::os {
namespace {

constexpr std::size_t kFirstBuffer = 1024;
constexpr std::size_t kLargestBuffer = 1024 * 1024;

// Calls a get…_r function with a buffer that grows until the entry fits. Null when there is no entry or the
// database failed; then `error_number` tells which.
template <class Entry, class Lookup>
const Entry* look_up(Entry& entry, std::vector<char>& buffer, int& error_number, Lookup lookup) {
  for (buffer.resize(kFirstBuffer); buffer.size() <= kLargestBuffer; buffer.resize(buffer.size() * 4)) {
    Entry* found = nullptr;
    error_number = lookup(&entry, buffer.data(), buffer.size(), &found);
    if (error_number != ERANGE) return found;
  }
  return nullptr;
}

// What the C library answers for "no such entry", besides 0 (see getpwnam(3)).
bool means_no_entry(int error_number) {
  return error_number == 0 || error_number == ENOENT || error_number == ESRCH || error_number == EBADF ||
         error_number == EPERM;
}

User to_user(const passwd& entry) {
  return User{entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir ? entry.pw_dir : "/",
              entry.pw_shell && *entry.pw_shell ? entry.pw_shell : "/bin/sh"};
}

}  // namespace

Result<User> find_user(const std::string& name) {
  passwd entry{};
  std::vector<char> buffer;
  int error_number = 0;
  const auto* found =
      look_up(entry, buffer, error_number, [&](passwd* into, char* data, std::size_t size, passwd** out) {
        return ::getpwnam_r(name.c_str(), into, data, size, out);
      });
  if (found) return to_user(*found);
  if (means_no_entry(error_number)) {
    return Error{ErrorCode::not_found, "there is no user \"" + name + "\" on this machine"};
  }
  return io_error("cannot look up the user \"" + name + "\"", error_number);
}

std::optional<User> find_user(uid_t id) {
  passwd entry{};
  std::vector<char> buffer;
  int error_number = 0;
  const auto* found =
      look_up(entry, buffer, error_number, [&](passwd* into, char* data, std::size_t size, passwd** out) {
        return ::getpwuid_r(id, into, data, size, out);
      });
  if (!found) return std::nullopt;
  return to_user(*found);
}

std::vector<gid_t> groups_of(const User& user) {
  std::vector<gid_t> groups(64);
  for (;;) {
    int count = static_cast<int>(groups.size());
    if (::getgrouplist(user.name.c_str(), user.group, groups.data(), &count) >= 0) {
      groups.resize(static_cast<std::size_t>(count));
      return groups;
    }
    const auto wanted = static_cast<std::size_t>(count);
    groups.resize(wanted > groups.size() ? wanted : groups.size() * 2);
  }
}

Result<gid_t> find_group(const std::string& name) {
  group entry{};
  std::vector<char> buffer;
  int error_number = 0;
  const auto* found =
      look_up(entry, buffer, error_number, [&](group* into, char* data, std::size_t size, group** out) {
        return ::getgrnam_r(name.c_str(), into, data, size, out);
      });
  if (found) return found->gr_gid;
  if (means_no_entry(error_number)) {
    return Error{ErrorCode::not_found, "there is no group \"" + name + "\" on this machine"};
  }
  return io_error("cannot look up the group \"" + name + "\"", error_number);
}

std::string group_name(gid_t id) {
  group entry{};
  std::vector<char> buffer;
  int error_number = 0;
  const auto* found =
      look_up(entry, buffer, error_number, [&](group* into, char* data, std::size_t size, group** out) {
        return ::getgrgid_r(id, into, data, size, out);
      });
  return found ? std::string(found->gr_name) : std::to_string(id);
}

}  // namespace agenttask::os
