#pragma once
#include <filesystem>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// Where programs keep the settings of the user who runs this one: $XDG_CONFIG_HOME, or ~/.config; %APPDATA%
/// on Windows. `not_found` where nobody says. Threads: any that change no environment variables meanwhile.
[[nodiscard]] Result<std::filesystem::path> user_configuration_folder();

}  // namespace agenttask::os
