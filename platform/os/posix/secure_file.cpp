#include "platform/os/secure_file.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/posix/descriptor.hpp"
#include "platform/os/posix/disk.hpp"
#include "platform/os/posix/users.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

Error file_error(const std::string& what, int error_number) {
  auto error = io_error(what, error_number);
  if (error_number == ENOENT || error_number == ENOTDIR) error.code = ErrorCode::not_found;
  if (error_number == EACCES || error_number == EPERM) error.code = ErrorCode::denied;
  if (error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM)
    error.code = ErrorCode::unavailable;
  return error;
}

std::string owner_name(uid_t id) {
  const auto user = find_user(id);
  return user ? user->name : std::to_string(id);
}

path folder_of(const path& file) {
  return file.has_parent_path() ? file.parent_path() : path(".");
}

// Makes the entries of a folder survive power loss.
Result<void> sync_folder(const path& folder) {
  const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor.is_open()) return file_error("cannot open the folder " + folder.string(), errno);
  if (!store_durably(descriptor.get()))
    return file_error("cannot store the folder " + folder.string(), errno);
  return {};
}

Result<void> write_whole(const Descriptor& file, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const auto count = ::write(file.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error("cannot write " + name, errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  if (!store_durably(file.get())) return file_error("cannot store " + name, errno);
  return {};
}

// Makes missing folders above `folder`.
Result<void> create_above(const path& folder) {
  const auto above = folder.parent_path();
  struct stat facts {};
  if (above.empty() || above == folder || ::stat(above.c_str(), &facts) == 0) return {};
  if (auto made = create_above(above); !made) return made;
  if (::mkdir(above.c_str(), 0755) != 0 && errno != EEXIST) {
    return file_error("cannot make the folder " + above.string(), errno);
  }
  return sync_folder(folder_of(above));
}

}  // namespace

Result<void> create_folder(const path& folder, Readable readable) {
  const auto whole = folder.has_filename() ? folder : folder.parent_path();
  const mode_t mode = readable == Readable::by_owner ? 0700 : readable == Readable::passable ? 0711 : 0755;
  const auto name = whole.string();
  if (auto made = create_above(whole); !made) return made;
  const bool is_new = ::mkdir(whole.c_str(), mode) == 0;
  if (!is_new && errno != EEXIST) return file_error("cannot make the folder " + name, errno);
  struct stat facts {};
  if (::stat(whole.c_str(), &facts) != 0) return file_error("cannot look at the folder " + name, errno);
  if (!S_ISDIR(facts.st_mode)) {
    return Error{ErrorCode::conflict,
                 "cannot make the folder " + name + ": there is something that is not a folder"};
  }
  if (facts.st_uid != ::geteuid()) {
    return Error{ErrorCode::denied, "the folder " + name + " belongs to " + owner_name(facts.st_uid) +
                                        ", not to " + owner_name(::geteuid()) + ", who runs this program"};
  }
  if ((facts.st_mode & 07777) != mode && ::chmod(whole.c_str(), mode) != 0) {
    return file_error("cannot set the rights of " + name, errno);
  }
  return is_new ? sync_folder(folder_of(whole)) : Result<void>();
}

Result<void> write_file(const path& file, std::string_view bytes, Readable readable) {
  const auto folder = folder_of(file);
  const auto temporary =
      folder / ("." + file.filename().string() + "." + hex_encode(random_bytes(6)) + ".new");
  const mode_t mode = readable == Readable::by_everyone ? 0644 : 0600;
  const auto name = file.string();
  Descriptor descriptor(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!descriptor.is_open()) return file_error("cannot write " + name, errno);
  auto written = write_whole(descriptor, bytes, name);
  if (written && ::fchmod(descriptor.get(), mode) != 0) {  // whatever our umask is
    written = file_error("cannot set the rights of " + name, errno);
  }
  if (written && std::rename(temporary.c_str(), file.c_str()) != 0) {
    written = file_error("cannot replace " + name, errno);
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_folder(folder);
}

Result<std::string> read_file(const path& file, std::size_t most) {
  const auto name = file.string();
  // Without O_NONBLOCK a named pipe would hang us.
  const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!descriptor.is_open()) return file_error("cannot read " + name, errno);
  struct stat facts {};
  if (::fstat(descriptor.get(), &facts) != 0) return file_error("cannot read " + name, errno);
  if (!S_ISREG(facts.st_mode)) return Error{ErrorCode::invalid, "cannot read " + name + ": it is not a file"};
  std::string bytes;
  std::array<char, 16384> chunk;
  for (;;) {
    const auto count = ::read(descriptor.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error("cannot read " + name, errno);
    if (count == 0) return bytes;
    bytes.append(chunk.data(), static_cast<std::size_t>(count));
    if (bytes.size() > most) {
      return Error{ErrorCode::limit, "cannot read " + name + ": it has more than the " +
                                         std::to_string(most) + " bytes that are allowed"};
    }
  }
}

Result<void> move_durably(const path& from, const path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return file_error("cannot move " + from.string() + " to " + to.string(), errno);
  }
  if (auto synced = sync_folder(folder_of(to)); !synced) return synced;
  return folder_of(from) == folder_of(to) ? Result<void>() : sync_folder(folder_of(from));
}

Result<void> sync_file(const path& file) {
  const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.is_open()) return file_error("cannot open " + file.string(), errno);
  if (!store_durably(descriptor.get())) return file_error("cannot store " + file.string(), errno);
  return sync_folder(folder_of(file));
}

Result<void> remove_file(const path& file) {
  if (::unlink(file.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return file_error("cannot remove " + file.string(), errno);
  }
  return sync_folder(folder_of(file));
}

Result<void> check_trusted(const path& file) {
  const auto check = [](const path& entry, bool is_folder) -> Result<void> {
    struct stat facts {};
    if (::stat(entry.c_str(), &facts) != 0) return file_error("cannot look at " + entry.string(), errno);
    const auto name = entry.string();
    if (facts.st_uid != 0 && facts.st_uid != ::geteuid()) {
      return Error{ErrorCode::denied, name + " belongs to " + owner_name(facts.st_uid) +
                                          " and can't be trusted; chown root " + name};
    }
    const bool sticky_folder = is_folder && (facts.st_mode & S_ISVTX) != 0;
    if ((facts.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky_folder) {
      return Error{ErrorCode::denied,
                   "others can write to " + name + ", so it can't be trusted; chmod go-w " + name};
    }
    return {};
  };
  if (auto checked = check(file, false); !checked) return checked;
  if (auto checked = check(folder_of(file), true); !checked) return checked;
  // A link is as trustworthy as both of its ends.
  std::error_code failed;
  const auto target = std::filesystem::canonical(file, failed);
  if (failed) return file_error("cannot follow " + file.string(), failed.value());
  return check(folder_of(target), true);
}

Result<void> check_private(const path& file) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) {
    if (errno == ENOENT) return {};
    return file_error("cannot look at " + file.string(), errno);
  }
  if ((facts.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  return Error{ErrorCode::denied,
               file.string() + " holds a secret and others may read it; run: chmod 600 " + file.string()};
}

}  // namespace agenttask::os
