#include "platform/os/paths.hpp"

#include <system_error>

namespace agenttask::os {

std::string Folders::console_address() const {
  return (runtime / "agent.sock").string();
}

Folders folders_inside(const std::filesystem::path& folder) {
  std::error_code failed;
  auto whole = std::filesystem::absolute(folder, failed).lexically_normal();
  if (failed) whole = folder;
  if (!whole.has_filename()) whole = whole.parent_path();  // "x/" is "x"
  return {whole, whole, whole / "run"};
}

}  // namespace agenttask::os
