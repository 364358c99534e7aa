#include "platform/os/outliving.hpp"

#include <string>
#include <system_error>

#include "platform/base/filesystem_error.hpp"
#include "platform/os/process.hpp"
#include "platform/os/windows/command_line.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

namespace fs = std::filesystem;

constexpr DWORD kLongestPath = 32'768;

/// A program that runs can't be replaced here: an upgrade would wait for it. So a copy runs.
Result<fs::path> copy_of(const fs::path& program, const fs::path& folder) {
  fs::path copy = folder / program.filename();
  std::error_code failed;
  fs::copy_file(program, copy, fs::copy_options::overwrite_existing, failed);
  if (failed) return filesystem_error("cannot copy " + program.string() + " to " + folder.string(), failed);
  return copy;
}

}  // namespace

OutlivingStatus outliving_status() {
  return {OutlivingMeans::own_session,
          "a service of this system is stopped without what it started elsewhere"};
}

Result<void> launch_outliving(ProcessSupervisor& supervisor, const OutlivingProgram& program,
                              const std::stop_token& /*stop*/) {
  auto words = program.argv;
  if (!program.folder.empty()) {
    auto copy = copy_of(fs::path(to_wide(words.front())), program.folder);
    if (!copy) return copy.error();
    words.front() = to_utf8(copy->wstring());
  }
  return supervisor.launch_apart(words);
}

Result<void> ProcessSupervisor::launch_apart(const std::vector<std::string>& program) {
  auto line = make_command_line(program);
  if (!line) return line.error();
  const std::wstring file = to_wide(program.front());
  STARTUPINFOW startup{};
  startup.cb = sizeof startup;
  PROCESS_INFORMATION started{};
  // Whoever started us may hold us in a job; one that forbids to leave it keeps what we start, too.
  for (const DWORD apart : {static_cast<DWORD>(CREATE_BREAKAWAY_FROM_JOB), DWORD{0}}) {
    const BOOL done = ::CreateProcessW(file.c_str(), line->data(), nullptr, nullptr, FALSE,
                                       apart | CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP, nullptr, nullptr,
                                       &startup, &started);
    if (done != 0) {
      const Handle process(started.hProcess);
      const Handle thread(started.hThread);
      return {};
    }
    if (apart != 0 && ::GetLastError() == ERROR_ACCESS_DENIED) continue;
    break;
  }
  return system_error("cannot start " + program.front(), ::GetLastError());
}

Result<fs::path> own_program() {
  std::wstring name(kLongestPath, L'\0');
  const DWORD length = ::GetModuleFileNameW(nullptr, name.data(), kLongestPath);
  if (length == 0 || length >= kLongestPath)
    return system_error("cannot find our own program", ::GetLastError());
  name.resize(length);
  return fs::path(name);
}

}  // namespace agenttask::os
