#pragma once
#include <filesystem>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::os {
class ProcessSupervisor;
class ServiceEvents;
}  // namespace agenttask::os

namespace agenttask::agent {

/// Does a run outside the agent's service and records how it ended: what `agenttaskd run-outside FOLDER`
/// does.
///
/// The command runs as every command does, with its streams in the folder's files, held together and stopped
/// whole at its timeout, when the folder asks for it, and at a terminate of this program (the system shuts
/// down). The end is on disk before this returns; on a full disk it waits for room. Success says that there
/// is nothing more to do, also where the run was begun or withdrawn before. Threads: blocks the calling one.
/// Crash: without an end in the folder the run counts as interrupted, and the agent stops what is left of it.
[[nodiscard]] Result<void> record_outliving_run(const std::filesystem::path& folder,
                                                os::ProcessSupervisor& supervisor, os::ServiceEvents& events,
                                                const Clock& clock);

}  // namespace agenttask::agent
