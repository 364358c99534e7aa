#pragma once
#include <cstdio>
#include <filesystem>

namespace agenttask::os {

/// As std::fopen in binary, for file names in any script; children don't inherit it, and others may read,
/// rename and remove the file meanwhile. `mode` is "rb", "wb", "w+b" or "r+b". Null with errno.
[[nodiscard]] std::FILE* open_file_stream(const std::filesystem::path& file, const char* mode);

}  // namespace agenttask::os
