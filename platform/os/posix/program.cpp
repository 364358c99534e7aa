#include "platform/os/posix/program.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/os/posix/disk.hpp"
#include "platform/os/posix/users.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

/// A user with its groups.
struct Identity {
  uid_t id = 0;
  std::vector<gid_t> groups;
};

/// Whether the mode lets the user enter the folder or run the file. An access control list is left to exec.
bool may_execute(const path& place, const struct stat& facts, const Identity& user) {
  if (has_access_list(place)) return true;
  if (user.id == 0) return S_ISDIR(facts.st_mode) || (facts.st_mode & 0111) != 0;
  if (facts.st_uid == user.id) return (facts.st_mode & S_IXUSR) != 0;
  const bool in_group = std::find(user.groups.begin(), user.groups.end(), facts.st_gid) != user.groups.end();
  return (facts.st_mode & (in_group ? S_IXGRP : S_IXOTH)) != 0;
}

/// Who a child of `run_as` would be, where that is somebody else than we. None: ourselves, or nobody known.
std::optional<Identity> other_user(const std::string& run_as) {
  if (run_as.empty() || ::geteuid() != 0) return std::nullopt;
  const auto user = find_user(run_as);
  if (!user) return std::nullopt;
  return Identity{user->id, groups_of(*user)};
}

Error refusal(const std::string& program, ErrorCode code, const std::string& why) {
  return Error{code, "cannot run " + program + ": " + why, "argv"};
}

Error not_executable(const std::string& program) {
  return refusal(program, ErrorCode::denied, "it is not an executable file for the user it runs as");
}

/// Every folder on the way, and the file itself.
Result<void> check_way(const path& file, const std::string& program, const Identity& user) {
  path place;
  for (const path& part : file) {
    place /= part;
    struct stat facts {};
    if (::stat(place.c_str(), &facts) != 0) break;  // it was there a moment ago; exec will say
    if (may_execute(place, facts, user)) continue;
    if (place == file) return not_executable(program);
    return refusal(program, ErrorCode::denied, "the user it runs as may not enter " + place.string());
  }
  return {};
}

}  // namespace

Result<std::string> find_program(const std::string& name, const Environment& environment) {
  if (name.find('/') != std::string::npos) return name;
  const auto variable = environment.find("PATH");
  const std::string path = variable == environment.end() ? "/usr/bin:/bin" : variable->second;
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find(':', begin), path.size());
    const auto folder = path.substr(begin, end - begin);
    auto candidate = folder;
    candidate.append("/").append(name);
    struct stat facts {};
    if (folder.starts_with('/') && ::stat(candidate.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) &&
        (facts.st_mode & 0111) != 0) {
      return candidate;
    }
    begin = end + 1;
  }
  return Error{ErrorCode::not_found,
               "cannot run " + name + ": there is no such program in PATH (" + path + ")", "argv"};
}

Result<path> locate_program(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return Error{ErrorCode::invalid, "cannot run a command without a program's name", "argv"};
  }
  const std::string& program = spec.argv.front();
  const auto found = find_program(program, spec.environment);
  if (!found) return found.error();
  const path file = path(spec.cwd.empty() ? "/" : spec.cwd) / *found;
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return refusal(program, ErrorCode::not_found, "there is no such file");
    }
    auto error = io_error("cannot run " + program, errno);
    error.field = "argv";
    return error;
  }
  if (!S_ISREG(facts.st_mode)) return refusal(program, ErrorCode::denied, "it is not a file");
  if (const auto user = other_user(spec.run_as)) {
    std::error_code unresolved;
    const path real = std::filesystem::canonical(file, unresolved);
    if (auto checked = check_way(unresolved ? file : real, program, *user); !checked) return checked.error();
  } else if (::faccessat(AT_FDCWD, file.c_str(), X_OK, AT_EACCESS) != 0) {
    return not_executable(program);
  }
  return file;
}

}  // namespace agenttask::os
