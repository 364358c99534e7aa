#pragma once
#include <cstddef>
#include <cstdint>
#include <sys/types.h>

namespace agenttask::os {

/// The steps of a child between vfork and exec whose system calls differ between systems. Async-signal-safe:
/// system calls only, on the calling thread alone. They set errno and return false on failure. Private to
/// platform/os.

/// Becomes another user for good. The C library's setuid can't be used: in a vfork child it would ask all
/// threads of the parent to follow.
bool become(const gid_t* groups, std::size_t group_count, gid_t group, uid_t user);

/// Enters the control group with this folder: an open descriptor.
bool enter(int group);

/// Of the parent: starts a child as vfork does, which is in the control group with this folder from its first
/// instruction, and calls `begin(argument)`, which must not return. Goes on when the child runs a program or
/// has ended. Returns its pid, or -1 and errno: where the system can't do this, ENOSYS.
pid_t start_in_group(int group, void (*begin)(void*), void* argument);

/// Gives the process a mark that all its descendants inherit; nothing where the system has or allows none.
void inherit_mark(std::uint64_t mark);

/// Writes a line about this process, as `read_records` understands it.
bool write_record(int descriptor);

/// Marks every descriptor from `first` on close-on-exec; `limit` bounds the work where the system has no call
/// for it.
bool close_on_exec_from(int first, int limit);

}  // namespace agenttask::os
