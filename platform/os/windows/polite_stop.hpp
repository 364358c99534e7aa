#pragma once
#include <cstdint>
#include <span>

namespace agenttask::os {

/// Asks processes to end, as far as Windows has a way of asking: programs of a console get Ctrl-Break,
/// windows are closed as by a click. `group` is the process group of theirs (the number of the process that
/// it began with). Others hear nothing, and are killed when their grace is over. Private to
/// platform/os/windows. Threads: any; asking on several at once goes one after another, as a process has one
/// console at a time.
void ask_to_end(std::uint32_t group, std::span<const std::uint32_t> pids);

}  // namespace agenttask::os
