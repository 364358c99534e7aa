#pragma once
#include <cstdint>

/// How many files and connections this process may have open.
namespace agenttask::os {

/// Raises the limit as far as an ordinary user may; the limit that holds now. Call it before threads start.
std::uint64_t raise_open_files_limit();

}  // namespace agenttask::os
