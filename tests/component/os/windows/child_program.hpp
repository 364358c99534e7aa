#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tests/component/os/child.hpp"

namespace agenttask::os {

/// The test program itself, started as a child: its first argument says what it does then.
/// - `arguments`: prints each of the others, a line with its length before it
/// - `exit CODE` · `sleep` (for ever) · `write OUT ERR`: so many bytes to both streams, the second first
/// - `copy`: standard input to standard output
/// - `tree`: starts another `sleep` outside its process group, prints its number, and sleeps
/// - `leave`: starts another `sleep`, prints its number, and ends
/// - `handle NUMBER`: whether that handle is open in it
/// - `leave-apart FOLDER`: launches `stay FOLDER\pid` as what outlives it, from a copy in FOLDER, says
/// `launched`,
///   and sleeps
/// - `stay FILE`: writes its number into that file and sleeps
/// - `supervise`: runs a `sleep` as an agent would, in the run that the next argument names
std::vector<std::string> child_argv(const std::vector<std::string>& words);

/// The variable that makes it a child.
inline constexpr const char* kChildVariable = "TEST_CHILD";

/// Whether the process runs.
bool is_running(unsigned long pid);

}  // namespace agenttask::os
