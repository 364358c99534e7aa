#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/storage/database.hpp"

/// Whole databases: copied while others write them, and looked through for damage.
namespace agenttask::storage {

/// Copies the database `source` as it is at one instant into the new file `target`, of mode 0600 and without
/// a log beside it. Whoever writes the source goes on meanwhile. What was written is read back and checked
/// (find_damage) before this returns, and survives power loss with its folder's entry synced by the caller.
/// `conflict`: there is something at `target`; `corrupt`: the source, or what was written, is damaged. On an
/// error `target` is gone again.
[[nodiscard]] Result<void> copy_database(const std::filesystem::path& source,
                                         const std::filesystem::path& target, const Schema& schema);

/// Closes a database that shall be moved: all that was committed is in its one file, and no log is left
/// beside it that could be forgotten. An error: it is not so, and the file must not be moved without its log.
[[nodiscard]] Result<void> close_as_one_file(Database database);

/// Looks at every page, index and reference of an open database: what is wrong with it, at most `most` lines;
/// empty when nothing is. Takes seconds for each gigabyte. An error: it can't be read at all.
[[nodiscard]] Result<std::vector<std::string>> find_damage(Database& database, std::size_t most);

}  // namespace agenttask::storage
