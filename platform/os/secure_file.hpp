#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

/// Files and folders whose rights and durability matter.
namespace agenttask::os {

enum class Readable : std::uint8_t {
  by_owner,     ///< 0700 and 0600: keys, tokens, databases
  passable,     ///< 0711 and 0600: as by_owner, but what lies in it can be reached by who knows its name
  by_everyone,  ///< 0755 and 0644: certificates, the folder of the local socket
};

/// Makes the folder, and missing ones above it (0755). One that is there gets the right mode; `denied` when
/// it is not ours, `conflict` when it is not a folder. Its entry survives power loss.
Result<void> create_folder(const std::filesystem::path& folder, Readable readable);

/// Writes the whole file: after a crash at any point there is the old content or the new, and after the
/// return the new one survives power loss. A file or link that was there is replaced, never followed.
Result<void> write_file(const std::filesystem::path& file, std::string_view bytes, Readable readable);

/// The whole file. `not_found`; `denied`; `limit` when it has more than `most` bytes; `invalid` when it is
/// not a regular file.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& file, std::size_t most);

/// Gives a file or folder another name on the same file system, durably: after a crash it has one or the
/// other. A file that has that name already is replaced.
Result<void> move_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// What was written to this file by others survives power loss when this returns; its folder's entry too.
Result<void> sync_file(const std::filesystem::path& file);

/// Removes the file durably; one that is not there is no error.
Result<void> remove_file(const std::filesystem::path& file);

/// Checks that nobody but root and we could have written this file: it belongs to root or us, and neither it
/// nor its folder can be written by group or others (a sticky folder passes). `denied` says what is wrong and
/// how to repair it; `not_found`.
[[nodiscard]] Result<void> check_trusted(const std::filesystem::path& file);

/// Checks that nobody but the owner (and who may do everything in any case) could read this file: `denied`
/// says how to repair it. One that is not there is no error.
[[nodiscard]] Result<void> check_private(const std::filesystem::path& file);

/// A lock that one process holds until it is destroyed or the process ends, however it ends.
class FileLock {
 public:
  /// `conflict` when another process holds it, with its pid. Waits 2 s for what a killed holder was starting.
  static Result<FileLock> acquire(const std::filesystem::path& file);

  FileLock(FileLock&&) noexcept;
  FileLock& operator=(FileLock&&) noexcept;
  ~FileLock();

 private:
  struct State;
  explicit FileLock(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::os
