#pragma once
#include <filesystem>
#include <string_view>

namespace agenttask {

/// The path that a text names: settings, arguments and messages are UTF-8 on every system, and a path made of
/// one directly would be read as something else on some (Windows). `path::string()` is the way back.
[[nodiscard]] std::filesystem::path to_path(std::string_view text);

}  // namespace agenttask
