#include "platform/os/secure_file.hpp"

#include <aclapi.h>
#include <array>
#include <chrono>
#include <thread>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/windows/access_rights.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

constexpr DWORD kShareAll = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
/// Virus scanners and indexers open what was just written, for moments.
constexpr int kTriesAgainstOthers = 100;
constexpr std::chrono::milliseconds kBetweenTries{10};

/// As `system_error`, but that a full disk is what it is on other systems: an error of the file system.
Error file_error(const std::string& what, DWORD code) {
  auto error = system_error(what, code);
  if (error.code == ErrorCode::limit) error.code = ErrorCode::io;
  if (code == ERROR_SHARING_VIOLATION || code == ERROR_LOCK_VIOLATION) error.code = ErrorCode::unavailable;
  return error;
}

path folder_of(const path& file) {
  return file.has_parent_path() ? file.parent_path() : path(L".");
}

/// The name of `file` in words for people, whatever it is made of.
std::string name_of(const path& file) {
  return to_utf8(file.native());
}

/// Opens a folder or file for looks; `flags` besides: FILE_FLAG_OPEN_REPARSE_POINT for a link itself.
Handle open_entry(const path& entry, DWORD access, DWORD flags = 0) {
  return Handle(::CreateFileW(entry.c_str(), access, kShareAll, nullptr, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS | flags, nullptr));
}

bool is_folder(HANDLE entry) {
  BY_HANDLE_FILE_INFORMATION facts{};
  return ::GetFileInformationByHandle(entry, &facts) != 0 &&
         (facts.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

// Makes the entries of a folder survive power loss. The journal of NTFS keeps their order in any case;
// file systems that know nothing of it (FAT, a network's) say that they can't, and that is no error.
Result<void> sync_folder(const path& folder) {
  const Handle handle = open_entry(folder, GENERIC_WRITE);
  if (handle.is_open() && ::FlushFileBuffers(handle.get()) != 0) return {};
  const DWORD code = ::GetLastError();
  if (code == ERROR_INVALID_FUNCTION || code == ERROR_NOT_SUPPORTED || code == ERROR_ACCESS_DENIED ||
      code == ERROR_INVALID_HANDLE || code == ERROR_INVALID_PARAMETER) {
    return {};
  }
  return file_error("cannot store the folder " + name_of(folder), code);
}

Result<void> write_whole(HANDLE file, std::string_view bytes, const std::string& name) {
  constexpr std::size_t kMost = 1024 * 1024;
  while (!bytes.empty()) {
    DWORD count = 0;
    if (::WriteFile(file, bytes.data(), static_cast<DWORD>(std::min(bytes.size(), kMost)), &count, nullptr) ==
        0) {
      return file_error("cannot write " + name, ::GetLastError());
    }
    bytes.remove_prefix(count);
  }
  if (::FlushFileBuffers(file) == 0) return file_error("cannot store " + name, ::GetLastError());
  return {};
}

/// Calls `attempt` again while somebody else has the file open just now; the last code, 0 when it worked.
template <class Attempt>
DWORD against_others(Attempt attempt) {
  for (int tries = 1;; ++tries) {
    if (attempt()) return ERROR_SUCCESS;
    const DWORD code = ::GetLastError();
    const bool may_pass = code == ERROR_SHARING_VIOLATION || code == ERROR_ACCESS_DENIED ||
                          code == ERROR_LOCK_VIOLATION || code == ERROR_USER_MAPPED_FILE;
    if (!may_pass || tries == kTriesAgainstOthers) return code;
    std::this_thread::sleep_for(kBetweenTries);
  }
}

/// A folder that others own or could rename is no place for ours: they would put another one there.
Result<void> check_above(const path& above) {
  const Handle handle = open_entry(above, READ_CONTROL | FILE_READ_ATTRIBUTES);
  if (!handle.is_open()) return {};  // it will be told when something is made in it
  const Sid owner = owner_of(handle.get(), true);
  if (owner.is_valid() && !is_trusted_owner(owner)) {
    return Error{ErrorCode::denied, "the folder " + name_of(above) + " belongs to " + account_name(owner) +
                                        ", who could put other files in the place of ours"};
  }
  return {};
}

Result<void> create_with_rights(const path& folder, AccessRights& rights, bool& is_new) {
  is_new = ::CreateDirectoryW(folder.c_str(), rights.attributes()) != 0;
  if (!is_new && ::GetLastError() != ERROR_ALREADY_EXISTS)
    return file_error("cannot make the folder " + name_of(folder), ::GetLastError());
  return {};
}

// Makes missing folders above `folder`: everybody may read them, and nobody else write.
Result<void> create_above(const path& folder) {
  const auto above = folder.parent_path();
  if (above.empty() || above == folder) return {};
  if (::GetFileAttributesW(above.c_str()) != INVALID_FILE_ATTRIBUTES) return check_above(above);
  if (auto made = create_above(above); !made) return made;
  auto rights = rights_of_folder(Readable::by_everyone);
  if (!rights) return rights.error();
  bool is_new = false;
  if (auto made = create_with_rights(above, *rights, is_new); !made) return made;
  return sync_folder(folder_of(above));
}

/// Whose folder this is, and that it is one.
Result<void> check_folder(HANDLE handle, const std::string& name) {
  if (!is_folder(handle)) {
    return Error{ErrorCode::conflict,
                 "cannot make the folder " + name + ": there is something that is not a folder"};
  }
  const Sid owner = owner_of(handle, true);
  if (is_trusted_owner(owner)) return {};
  return Error{ErrorCode::denied, "the folder " + name + " belongs to " + account_name(owner) + ", not to " +
                                      account_name(user_of_this_process()) +
                                      ", who runs this program: remove it, or make Administrators its owner "
                                      "after a look at what is in it"};
}

/// Gives a folder that was there these rights, and with them what it holds; nothing where it has them.
Result<void> set_rights(HANDLE handle, AccessRights& rights, const std::string& name) {
  if (list_text_of(handle) == rights.list_text()) return {};
  const DWORD failed = ::SetSecurityInfo(handle, SE_FILE_OBJECT,
                                         DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
                                         nullptr, nullptr, rights.list(), nullptr);
  return failed == ERROR_SUCCESS ? Result<void>() : file_error("cannot set the rights of " + name, failed);
}

}  // namespace

Result<void> create_folder(const path& folder, Readable readable) {
  const auto whole = folder.has_filename() ? folder : folder.parent_path();
  const auto name = name_of(whole);
  if (auto made = create_above(whole); !made) return made;
  auto rights = rights_of_folder(readable);
  if (!rights) return rights.error();
  bool is_new = false;
  if (auto made = create_with_rights(whole, *rights, is_new); !made) return made;
  if (is_new) return sync_folder(folder_of(whole));
  // A link is whoever's it is; only behind one of ours do we look.
  const Handle link = open_entry(whole, READ_CONTROL | FILE_READ_ATTRIBUTES, FILE_FLAG_OPEN_REPARSE_POINT);
  if (!link.is_open()) return file_error("cannot look at the folder " + name, ::GetLastError());
  if (auto checked = check_folder(link.get(), name); !checked) return checked;
  const Handle handle = open_entry(whole, READ_CONTROL | WRITE_DAC | FILE_READ_ATTRIBUTES);
  if (!handle.is_open()) return file_error("cannot set the rights of " + name, ::GetLastError());
  if (auto checked = check_folder(handle.get(), name); !checked) return checked;
  return set_rights(handle.get(), *rights, name);
}

Result<void> write_file(const path& file, std::string_view bytes, Readable readable) {
  const auto folder = folder_of(file);
  auto temporary = folder / L".";
  temporary += file.filename().native() + L"." + to_wide(hex_encode(random_bytes(6))) + L".new";
  const auto name = name_of(file);
  auto rights = rights_of_file(readable);
  if (!rights) return rights.error();
  Handle handle(::CreateFileW(temporary.c_str(), GENERIC_WRITE, 0, rights->attributes(), CREATE_NEW,
                              FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!handle.is_open()) return file_error("cannot write " + name, ::GetLastError());
  auto written = write_whole(handle.get(), bytes, name);
  handle.close();
  if (written) {
    const DWORD failed = against_others([&] {
      return ::MoveFileExW(temporary.c_str(), file.c_str(),
                           MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != 0;
    });
    if (failed != ERROR_SUCCESS) written = file_error("cannot replace " + name, failed);
  }
  if (!written) {
    ::DeleteFileW(temporary.c_str());
    return written;
  }
  return sync_folder(folder);
}

Result<std::string> read_file(const path& file, std::size_t most) {
  const auto name = name_of(file);
  // A pipe that somebody put there learns who we are, and can do nothing in our name.
  const Handle handle(
      ::CreateFileW(file.c_str(), GENERIC_READ, kShareAll, nullptr, OPEN_EXISTING,
                    FILE_FLAG_SEQUENTIAL_SCAN | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, nullptr));
  if (!handle.is_open()) {
    const DWORD code = ::GetLastError();
    const DWORD attributes = ::GetFileAttributesW(file.c_str());
    if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0)
      return Error{ErrorCode::invalid, "cannot read " + name + ": it is not a file"};
    return file_error("cannot read " + name, code);
  }
  if (::GetFileType(handle.get()) != FILE_TYPE_DISK)
    return Error{ErrorCode::invalid, "cannot read " + name + ": it is not a file"};
  std::string bytes;
  std::array<char, 16384> chunk;
  for (;;) {
    DWORD count = 0;
    if (::ReadFile(handle.get(), chunk.data(), static_cast<DWORD>(chunk.size()), &count, nullptr) == 0)
      return file_error("cannot read " + name, ::GetLastError());
    if (count == 0) return bytes;
    bytes.append(chunk.data(), count);
    if (bytes.size() > most) {
      return Error{ErrorCode::limit, "cannot read " + name + ": it has more than the " +
                                         std::to_string(most) + " bytes that are allowed"};
    }
  }
}

Result<void> move_durably(const path& from, const path& to) {
  const DWORD failed = against_others([&] {
    return ::MoveFileExW(from.c_str(), to.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != 0;
  });
  if (failed != ERROR_SUCCESS)
    return file_error("cannot move " + name_of(from) + " to " + name_of(to), failed);
  if (auto synced = sync_folder(folder_of(to)); !synced) return synced;
  return folder_of(from) == folder_of(to) ? Result<void>() : sync_folder(folder_of(from));
}

Result<void> sync_file(const path& file) {
  const Handle handle(::CreateFileW(file.c_str(), GENERIC_WRITE, kShareAll, nullptr, OPEN_EXISTING,
                                    FILE_ATTRIBUTE_NORMAL, nullptr));
  if (!handle.is_open()) return file_error("cannot open " + name_of(file), ::GetLastError());
  if (::FlushFileBuffers(handle.get()) == 0)
    return file_error("cannot store " + name_of(file), ::GetLastError());
  return sync_folder(folder_of(file));
}

Result<void> remove_file(const path& file) {
  const DWORD attributes = ::GetFileAttributesW(file.c_str());
  if (attributes == INVALID_FILE_ATTRIBUTES) {
    const DWORD code = ::GetLastError();
    if (code == ERROR_FILE_NOT_FOUND) return {};
    return file_error("cannot remove " + name_of(file), code);
  }
  const DWORD failed = against_others([&] { return ::DeleteFileW(file.c_str()) != 0; });
  if (failed == ERROR_FILE_NOT_FOUND) return {};
  if (failed != ERROR_SUCCESS) return file_error("cannot remove " + name_of(file), failed);
  return sync_folder(folder_of(file));
}

Result<void> check_trusted(const path& file) {
  constexpr DWORD kChanges = FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE | WRITE_DAC | WRITE_OWNER;
  constexpr DWORD kFolderChanges = FILE_DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER;
  const auto check = [](const path& entry, DWORD rights) -> Result<void> {
    const Handle handle = open_entry(entry, READ_CONTROL | FILE_READ_ATTRIBUTES);
    const auto name = name_of(entry);
    if (!handle.is_open()) return file_error("cannot look at " + name, ::GetLastError());
    if (const Sid owner = owner_of(handle.get(), true); !is_trusted_owner(owner)) {
      return Error{ErrorCode::denied, name + " belongs to " + account_name(owner) +
                                          " and can't be trusted; icacls \"" + name +
                                          "\" /setowner Administrators"};
    }
    if (const auto stranger = stranger_with(handle.get(), rights); !stranger.empty()) {
      return Error{ErrorCode::denied, stranger + " can change " + name +
                                          ", so it can't be trusted; icacls \"" + name +
                                          "\" /inheritance:r /grant Administrators:F SYSTEM:F"};
    }
    return {};
  };
  if (auto checked = check(file, kChanges); !checked) return checked;
  return check(folder_of(file), kFolderChanges);
}

Result<void> check_private(const path& file) {
  const Handle handle = open_entry(file, READ_CONTROL | FILE_READ_ATTRIBUTES);
  if (!handle.is_open()) {
    const DWORD code = ::GetLastError();
    if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND) return {};
    return file_error("cannot look at " + name_of(file), code);
  }
  const auto stranger = stranger_with(handle.get(), FILE_READ_DATA);
  if (stranger.empty()) return {};
  return Error{ErrorCode::denied, name_of(file) + " holds a secret and " + stranger +
                                      " may read it; run: icacls \"" + name_of(file) +
                                      "\" /inheritance:r /grant:r \"%USERNAME%:F\""};
}

}  // namespace agenttask::os
