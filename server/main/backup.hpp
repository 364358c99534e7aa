#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "platform/base/clock.hpp"
#include "server/main/command_line.hpp"
#include "server/main/state_folder.hpp"
#include "server/store/store_copy.hpp"

/// What a server can't make again, in one folder: database, authority, certificate, session keys, settings.
namespace agenttask::server {

/// One file of a backup.
struct BackupFile {
  std::string name;  ///< below the backup's folder
  std::uint64_t bytes = 0;
  std::string digest;  ///< SHA-256, hexadecimal
};

/// What `backup.json` says of the folder it lies in; it is written last, so a folder without one is no
/// backup.
struct BackupManifest {
  UnixMilliseconds taken_at = 0;  ///< a moment before the first byte was read
  std::string version;            ///< of the server that took it
  std::string authority_fingerprint;
  StoreContents contents;
  std::vector<BackupFile> files;
  std::vector<std::string> not_covered;  ///< files that the settings name and that lie elsewhere
};

/// Takes a backup of the state folder into the new folder `line.backup`, beside a running server too, and
/// reads it back before it says so. `conflict`: there is something at that place. On an error nothing is
/// left. Crash: there is the whole backup, or `line.backup` + ".part", which the next one begins anew.
/// Returns what belongs on standard output.
[[nodiscard]] Result<std::string> take_backup(const CommandLine& line, const StateFolder& state,
                                              const SettingSources& sources, const Clock& clock);

/// Reads a backup's manifest and holds every file to it. `not_found`, `corrupt`, `newer`: it can't be used,
/// and why.
[[nodiscard]] Result<BackupManifest> check_backup(const std::filesystem::path& folder, UnixMilliseconds now);

/// `2026-11-22T11:40:00Z`
[[nodiscard]] std::string time_text(UnixMilliseconds time);

}  // namespace agenttask::server
