#pragma once
#include <cstdint>
#include <filesystem>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

/// The embedded store as one file: copied for a backup, looked at, and made ready to be served again.
namespace agenttask::server {

/// What there is in a store, for people to recognise it by.
struct StoreContents {
  std::int64_t nodes = 0;  ///< that were not revoked
  std::int64_t tasks = 0;
  std::int64_t operators = 0;          ///< whose tokens were not revoked
  std::int64_t enrollment_tokens = 0;  ///< that can still be used
};

/// Copies the database as it is at one instant, also while a server writes it, and checks the copy
/// (storage::copy_database). `conflict`: there is something at `target`.
[[nodiscard]] Result<void> copy_sqlite_store(const std::filesystem::path& source,
                                             const std::filesystem::path& target);

/// Reads only. `corrupt`: a page, an index or a reference is damaged; `newer`: written by a newer version.
[[nodiscard]] Result<StoreContents> look_at_sqlite_store(const std::filesystem::path& file,
                                                         UnixMilliseconds now);

/// Makes a database that comes from a backup taken at `taken_at` ready to be served from now on: it is
/// brought to this version; enrolment tokens are void; every device begins a new epoch at its next contact,
/// as what it did since is not known here; and the server decides nothing alone that may have been offered
/// since. Returns what was there before.
[[nodiscard]] Result<StoreContents> prepare_restored_store(const std::filesystem::path& file,
                                                           UnixMilliseconds taken_at, UnixMilliseconds now);

}  // namespace agenttask::server
