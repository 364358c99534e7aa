#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "platform/base/error.hpp"

/// Facts about this machine and this process. Threads: any.
namespace agenttask::os {

/// The host's name, without a trailing newline or NUL; "localhost" where it has none.
[[nodiscard]] std::string host_name();
/// "linux-x86_64".
[[nodiscard]] std::string platform_name();
/// "Debian GNU/Linux 12 (bookworm), Linux 6.1.0".
[[nodiscard]] std::string system_description();
/// Differs between two boots of the machine; empty where the system does not tell.
[[nodiscard]] std::string boot_id();
/// Bytes that an ordinary user may still write on the file system of `folder`.
[[nodiscard]] Result<std::uint64_t> free_disk_bytes(const std::filesystem::path& folder);

[[nodiscard]] std::string current_user_name();  ///< the id where it has no name
[[nodiscard]] bool is_administrator();          ///< we run as root
[[nodiscard]] std::int64_t current_pid();

/// Whether standard output (or error) goes to a person's screen.
[[nodiscard]] bool output_is_terminal();
[[nodiscard]] bool error_is_terminal();
/// Columns of the terminal at standard output; 80 where there is none.
[[nodiscard]] int terminal_width();

/// What this process uses.
struct ResourceUsage {
  std::uint64_t resident_bytes = 0;
  std::uint64_t private_bytes = 0;  ///< of these, shared with nobody; 0 where the system does not tell
  std::int64_t threads = 0;
  std::int64_t cpu_milliseconds = 0;
  std::int64_t open_files = 0;
};
[[nodiscard]] Result<ResourceUsage> own_usage();

}  // namespace agenttask::os
