#pragma once
#include <filesystem>
#include <string>

/// Where things are on this system.
namespace agenttask::os {

struct Folders {
  std::filesystem::path config;  ///< configuration and the local policy: written by the administrator
  std::filesystem::path
      state;  ///< databases, keys, certificates: written by the program, readable by it alone
  std::filesystem::path runtime;  ///< the local socket; may vanish at a reboot

  /// The address of the agent's console socket, for LocalListener and LocalStream.
  [[nodiscard]] std::string console_address() const;
};

/// /etc/agenttask, /var/lib/agenttask, /run/agenttask; folders of %ProgramData%\AgentTask on Windows; on
/// macOS /etc/agenttask, /var/db/agenttask, /var/run/agenttask.
[[nodiscard]] Folders default_folders();

/// Everything inside one folder of one's own (`--state-dir`), made absolute. The socket has a folder for
/// itself in it, `run`, which others can reach.
[[nodiscard]] Folders folders_inside(const std::filesystem::path& folder);

}  // namespace agenttask::os
