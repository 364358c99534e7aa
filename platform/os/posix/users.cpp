#include "platform/os/posix/users.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

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

// Which type getgrouplist takes for a group differs between systems.
template <class Group>
int list_groups(int (*call)(const char*, Group, Group*, int*), const User& user, std::vector<gid_t>& groups,
                int& count) {
  return call(user.name.c_str(), static_cast<Group>(user.group), reinterpret_cast<Group*>(groups.data()),
              &count);
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
    if (list_groups(&::getgrouplist, user, groups, count) >= 0) {
      groups.resize(static_cast<std::size_t>(count));
      return groups;
    }
    const auto wanted = static_cast<std::size_t>(count);
    groups.resize(wanted > groups.size() ? wanted : groups.size() * 2);
  }
}

bool is_person(uid_t id, uid_t least_id) {
  constexpr uid_t kServicesFirst = 61184;  // dynamic users of systemd, as its documentation fixes them
  constexpr uid_t kServicesLast = 65519;
  constexpr uid_t kNobody = 65534;
  constexpr uid_t kNone16 = 65535;
  constexpr auto kNobodyOfMacos = static_cast<uid_t>(-2);
  constexpr auto kNone = static_cast<uid_t>(-1);
  if (id == 0 || id < least_id || id == kNobody || id == kNone16 || id == kNobodyOfMacos || id == kNone)
    return false;
  return id < kServicesFirst || id > kServicesLast;
}

uid_t least_person_id(std::string_view text) {
  constexpr std::string_view kName = "UID_MIN";
  constexpr uid_t kUsual = 1000;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto skip_blanks = [&line] {
      const std::size_t blanks = line.find_first_not_of(" \t");
      line.remove_prefix(std::min(blanks, line.size()));
    };
    skip_blanks();
    if (!line.starts_with(kName)) continue;
    line.remove_prefix(kName.size());
    const std::size_t before = line.size();
    skip_blanks();
    if (line.size() == before) continue;  // another name that begins so
    uid_t value = 0;
    const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), value);
    if (error == std::errc{} && rest != line.data() && value > 0) return value;
  }
  return kUsual;
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
