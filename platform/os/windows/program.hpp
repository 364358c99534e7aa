#pragma once
#include <string>
#include <vector>

#include "platform/os/process.hpp"

namespace agenttask::os {

/// What a command's name stands for. Private to platform/os/windows.
struct Program {
  std::wstring file;      ///< the whole path
  bool is_batch = false;  ///< cmd.exe has to run it
};

/// The file of a program's name. A name with a separator is a path, from `cwd` on where it is relative.
/// Others are looked up in PATH of `environment`, with the endings of PATHEXT where the name has none of a
/// program; never in the current folder, and never in an entry of PATH that is not a whole path. Errors have
/// the field `argv`.
[[nodiscard]] Result<Program> find_program(const std::string& name, const std::string& cwd,
                                           const Environment& environment);

/// The folder that a process starts in for `cwd`: itself, or the root of the system's drive for an empty one.
[[nodiscard]] std::wstring start_folder(const std::string& cwd);
/// `C:\Windows\System32`.
[[nodiscard]] std::wstring system_folder();

/// The block for CreateProcess: each name once, whatever the case of its letters (the last of these), in the
/// system's order. A value that is not UTF-8 must have been refused before.
[[nodiscard]] std::wstring make_environment_block(const std::vector<const Environment*>& variables,
                                                  const std::string& run_id);

/// `unsupported` with field `runAs` unless the user is ourselves, or empty.
[[nodiscard]] Result<void> check_run_as(std::string_view run_as);

}  // namespace agenttask::os
