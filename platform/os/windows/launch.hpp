#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "platform/base/error.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/job.hpp"

namespace agenttask::os {

/// One child to start. Private to platform/os/windows.
struct LaunchRequest {
  std::string name;           ///< of the program, for messages
  std::wstring executable;    ///< its whole path
  std::wstring command_line;  ///< see command_line.hpp
  std::wstring environment;   ///< see `make_environment_block`
  std::wstring cwd;
  HANDLE standard_input = nullptr;  ///< all three inheritable and different
  HANDLE standard_output = nullptr;
  HANDLE standard_error = nullptr;
  std::filesystem::path record = {};  ///< see `ProcessSpec::record`
};

struct Launched {
  Handle process;
  std::uint32_t pid = 0;
};

/// Starts it inside the job, in a process group of its own, with these three handles and no other of ours. It
/// is in the job and in the record before its first instruction. Where we have no console it gets one of its
/// own that nobody sees; otherwise it shares ours. Errors as in `ProcessSupervisor::run`; then no child is
/// left. Threads: any.
[[nodiscard]] Result<Launched> launch(const LaunchRequest& request, const Job& job);

/// Whether we have a console, whose children share it.
[[nodiscard]] bool has_console();

}  // namespace agenttask::os
