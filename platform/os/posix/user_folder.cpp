#include "platform/os/user_folder.hpp"

#include <cstdlib>

namespace agenttask::os {

Result<std::filesystem::path> user_configuration_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): see the header
    return std::filesystem::path(value != nullptr ? value : "");
  };
  if (auto folder = variable("XDG_CONFIG_HOME"); !folder.empty()) return folder;
  if (const auto home = variable("HOME"); !home.empty()) return home / ".config";
  return Error{ErrorCode::not_found, "HOME is not set"};
}

}  // namespace agenttask::os
