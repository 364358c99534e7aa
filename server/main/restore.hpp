#pragma once
#include <string>

#include "platform/base/clock.hpp"
#include "server/main/command_line.hpp"
#include "server/main/state_folder.hpp"

namespace agenttask::server {

/// Puts the backup in `line.backup` into the state folder, for a server that is started afterwards: devices
/// that are in it go on by themselves, with a new epoch each; enrolment tokens are void. `conflict`: a server
/// runs there, or there is one and `line.replace_state` was not given; with it the present one is kept aside
/// in a folder of its own, and nothing is deleted.
/// Crash: at each point there is the old server, none (then it is done again), or the restored one whole.
[[nodiscard]] Result<std::string> restore_backup(const CommandLine& line, const StateFolder& state,
                                                 const Clock& clock);

}  // namespace agenttask::server
