#pragma once

/// What this process keeps of the machine's memory.
namespace agenttask::os {

/// Gives back what was freed and is kept for later use; takes a moment, so not more often than after a wave.
/// Threads: any.
void give_back_memory();

}  // namespace agenttask::os
