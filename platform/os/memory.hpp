#pragma once

/// What this process keeps of the machine's memory.
namespace agenttask::os {

/// Gives back what was freed and is kept for later use; takes a moment, so not more often than after a wave.
/// Threads: any.
void give_back_memory();

/// Lets go of what it has mapped of programs and libraries and can have back from their files: most of it is
/// code that its start took. It comes back page by page as it is used, from the system's cache; takes a
/// millisecond, and pays where the process does little for a while. Linux; elsewhere nothing happens.
/// Threads: any.
void let_go_of_files();

/// All threads take from one heap, and not each from its own where the system would give it one: less memory,
/// for a program whose threads rarely allocate at the same time. Threads: before there are others.
void use_one_heap();

}  // namespace agenttask::os
