#pragma once
#include <string>

#include "platform/os/process.hpp"

namespace agenttask::os {

/// The file of a program's name, looked up in PATH of `environment` as execvp does; a name with a slash as it
/// is. `not_found` with field `argv`. Whether it may run, exec has to say. Private to platform/os.
[[nodiscard]] Result<std::string> find_program(const std::string& name, const Environment& environment);

}  // namespace agenttask::os
