#pragma once

namespace agenttask::test {

/// Whether this runs under qemu-user, which carries out most of a system's calls and makes up some of its
/// facts. What it can't show is skipped there, and shown on a machine of that kind.
[[nodiscard]] bool is_emulated();

/// Why a test is skipped that looks for a process by its record.
inline constexpr const char* kEmulatedRecord =
    "qemu-user makes up /proc/self/stat: a child reads there that it began with its parent, so no process "
    "is the one of its record";
/// Why one is skipped in which an orphan falls to us.
inline constexpr const char* kEmulatedOrphans =
    "qemu-user knows no PR_SET_CHILD_SUBREAPER: orphans fall to the first process, which collects them when "
    "it likes";

}  // namespace agenttask::test
