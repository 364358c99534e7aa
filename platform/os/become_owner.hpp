#pragma once
#include <filesystem>

#include "platform/base/error.hpp"

/// POSIX alone: the task server is built for nothing else.
namespace agenttask::os {

/// Where root begins work inside a folder of another user's: becomes that user, with its groups and for good,
/// so that nothing which that user put there can lead root elsewhere, and nothing that is made there is
/// root's. Does nothing where we are not root, or the folder is ours or not there. `permission` or `io` when
/// it can't be done: do not go on then. Call it before threads start.
[[nodiscard]] Result<void> become_owner_of(const std::filesystem::path& folder);

}  // namespace agenttask::os
