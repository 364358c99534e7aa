#include "platform/os/outliving.hpp"

#include <array>
#include <mach-o/dyld.h>
#include <system_error>

#include <climits>

#include "platform/os/process.hpp"

namespace agenttask::os {

OutlivingStatus outliving_status() {
  return {OutlivingMeans::own_session,
          "launchd ends the process group of a service with it, and what has a session of its own goes on"};
}

Result<void> launch_outliving(ProcessSupervisor& supervisor, const OutlivingProgram& program,
                              const std::stop_token& /*stop*/) {
  return supervisor.launch_apart(program.argv);
}

Result<std::filesystem::path> own_program() {
  std::array<char, PATH_MAX> name{};
  auto size = static_cast<std::uint32_t>(name.size());
  if (::_NSGetExecutablePath(name.data(), &size) != 0) {
    return Error{ErrorCode::io, "cannot find our own program: its path is too long"};
  }
  std::error_code failed;
  auto file = std::filesystem::canonical(name.data(), failed);
  if (failed) return io_error("cannot find our own program", failed.value());
  return file;
}

}  // namespace agenttask::os
