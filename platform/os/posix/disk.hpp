#pragma once
#include <filesystem>
#include <sys/types.h>

namespace agenttask::os {

/// What systems call differently about files on a disk. Private to platform/os. Threads: any.

/// What was written to this file or folder survives power loss when this returns true. Otherwise errno says
/// why not.
[[nodiscard]] bool store_durably(int descriptor);

/// Gives the file this many bytes, and room for them on the disk. 0, or an error number.
[[nodiscard]] int allocate_bytes(int descriptor, off_t bytes);

/// Whether more than its mode says who may use the file.
[[nodiscard]] bool has_access_list(const std::filesystem::path& file);

}  // namespace agenttask::os
