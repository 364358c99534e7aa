#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "platform/base/clock.hpp"
#include "server/main/command_line.hpp"
#include "server/main/state_folder.hpp"

namespace agenttask::server {

/// Puts the backup in `line.backup` into the state folder, for a server that is started afterwards: devices
/// that are in it go on by themselves, with a new epoch each; enrolment tokens are void. `conflict`: a server
/// runs there, or there is one and `line.replace_state` was not given; with it the present one is kept aside
/// in a folder of its own, and nothing is deleted.
/// Crash: while the backup is made ready, the former server is as it was. From then on nothing is served but
/// the restored one, whole: the next start of the server finishes what was cut off, as does the next restore.
[[nodiscard]] Result<std::string> restore_backup(const CommandLine& line, const StateFolder& state,
                                                 const Clock& clock);

struct FinishedRestore {
  std::filesystem::path aside;  ///< where the former state is; empty: there was none
  bool wrote_settings = false;
};
/// Finishes a restore that was cut off after its backup had been made ready; nothing where there is none,
/// and what one that was cut off before left is removed. Call it before settings are read, as it may bring
/// them. `conflict`: a server runs there, or a restore.
/// Crash: it goes on where it was.
[[nodiscard]] Result<std::optional<FinishedRestore>> finish_restore(const StateFolder& state);

}  // namespace agenttask::server
