#include "platform/os/windows/launch.hpp"

#include <array>
#include <cstddef>
#include <vector>

#include "platform/os/windows/process_facts.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

// winerror.h of mingw-w64 does not have these.
constexpr DWORD kVirusInfected = 225;
constexpr DWORD kVirusDeleted = 226;
constexpr DWORD kElevationRequired = 740;

/// What CreateProcess is told beside its arguments: which handles to pass on, and in which job to begin.
class Attributes {
 public:
  Attributes(const LaunchRequest& request, HANDLE job)
      : handles_{request.standard_input, request.standard_output, request.standard_error}, job_(job) {
    constexpr DWORD kCount = 2;
    SIZE_T bytes = 0;
    ::InitializeProcThreadAttributeList(nullptr, kCount, 0, &bytes);
    memory_.resize(bytes / sizeof(std::max_align_t) + 1);
    auto* list = reinterpret_cast<LPPROC_THREAD_ATTRIBUTE_LIST>(memory_.data());
    if (::InitializeProcThreadAttributeList(list, kCount, 0, &bytes) == 0) return;
    list_ = list;
    if (::UpdateProcThreadAttribute(list_, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles_.data(),
                                    handles_.size() * sizeof(HANDLE), nullptr, nullptr) == 0) {
      clear();
      return;
    }
    // Where the system does not know this one, the job is entered before the first instruction all the same.
    ::UpdateProcThreadAttribute(list_, 0, PROC_THREAD_ATTRIBUTE_JOB_LIST, &job_, sizeof job_, nullptr,
                                nullptr);
  }
  ~Attributes() { clear(); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  [[nodiscard]] LPPROC_THREAD_ATTRIBUTE_LIST get() const { return list_; }

 private:
  void clear() {
    const DWORD code = ::GetLastError();
    if (list_ != nullptr) ::DeleteProcThreadAttributeList(list_);
    list_ = nullptr;
    ::SetLastError(code);
  }
  std::array<HANDLE, 3> handles_;
  HANDLE job_;
  std::vector<std::max_align_t> memory_;
  LPPROC_THREAD_ATTRIBUTE_LIST list_ = nullptr;
};

Error launch_error(const LaunchRequest& request, DWORD code) {
  const auto error = [&](ErrorCode kind, const std::string& why) {
    return Error{kind, "cannot run " + request.name + ": " + why, "argv"};
  };
  switch (code) {
    case ERROR_DIRECTORY:
      return Error{ErrorCode::not_found,
                   "cannot start in the folder " + to_utf8(request.cwd) + ": it is not there", "cwd"};
    case ERROR_BAD_EXE_FORMAT:
    case ERROR_EXE_MACHINE_TYPE_MISMATCH:
    case ERROR_INVALID_EXE_SIGNATURE:
      return error(ErrorCode::invalid, "it is not a program of this system");
    case kElevationRequired:
      return error(ErrorCode::denied,
                   "it asks for an administrator's rights, which the agent does not have here");
    case ERROR_ACCESS_DISABLED_BY_POLICY:
    case ERROR_ACCESS_DISABLED_WEBBLADE:
      return error(ErrorCode::denied, "a policy of this machine blocks it");
    case kVirusInfected:
    case kVirusDeleted:
      return error(ErrorCode::denied, "the virus scanner blocks it");
    case ERROR_FILENAME_EXCED_RANGE:
      return error(ErrorCode::limit, "its path, arguments or environment are too long for the system");
    case ERROR_SHARING_VIOLATION:
      return error(ErrorCode::unavailable, "somebody is writing to it");
    default:
      break;
  }
  auto failure = system_error("cannot run " + request.name, code);
  failure.field = failure.code == ErrorCode::unavailable ? "" : "argv";
  return failure;
}

/// One line, written as one piece at the end of the file.
Result<void> write_record(const std::filesystem::path& file, const ProcessEntry& entry) {
  const Handle record(::CreateFileW(file.c_str(), FILE_APPEND_DATA,
                                    FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                                    OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr));
  const std::string line = record_line(entry);
  DWORD written = 0;
  if (!record.is_open() ||
      ::WriteFile(record.get(), line.data(), static_cast<DWORD>(line.size()), &written, nullptr) == 0 ||
      written != line.size()) {
    auto error =
        system_error("cannot write to the record of processes " + to_utf8(file.wstring()), ::GetLastError());
    error.code = ErrorCode::unavailable;
    return error;
  }
  return {};
}

/// The steps between the creation of the process and its first instruction.
Result<void> bind(const LaunchRequest& request, const Job& job, HANDLE process, DWORD pid) {
  BOOL inside = FALSE;
  ::IsProcessInJob(process, job.get(), &inside);
  if (inside == 0 && ::AssignProcessToJobObject(job.get(), process) == 0) {
    return launch_error(request, ::GetLastError());
  }
  if (request.record.empty()) return {};
  return write_record(request.record, {pid, ::GetCurrentProcessId(), start_of(process)});
}

}  // namespace

bool has_console() {
  return ::GetConsoleCP() != 0;
}

Result<Launched> launch(const LaunchRequest& request, const Job& job) {
  const Attributes attributes(request, job.get());
  if (attributes.get() == nullptr) return launch_error(request, ::GetLastError());
  STARTUPINFOEXW start{};
  start.StartupInfo.cb = sizeof start;
  start.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
  start.StartupInfo.hStdInput = request.standard_input;
  start.StartupInfo.hStdOutput = request.standard_output;
  start.StartupInfo.hStdError = request.standard_error;
  start.lpAttributeList = attributes.get();
  const DWORD flags = CREATE_SUSPENDED | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT |
                      CREATE_NEW_PROCESS_GROUP | (has_console() ? 0U : CREATE_NO_WINDOW);
  std::wstring line = request.command_line;  // the call may write into it
  std::wstring environment = request.environment;
  PROCESS_INFORMATION made{};
  if (::CreateProcessW(request.executable.c_str(), line.data(), nullptr, nullptr, TRUE, flags,
                       environment.data(), request.cwd.c_str(), &start.StartupInfo, &made) == 0) {
    return launch_error(request, ::GetLastError());
  }
  Launched launched{Handle(made.hProcess), made.dwProcessId};
  const Handle thread(made.hThread);
  auto bound = bind(request, job, launched.process.get(), launched.pid);
  if (bound && ::ResumeThread(thread.get()) == static_cast<DWORD>(-1)) {
    bound = launch_error(request, ::GetLastError());
  }
  if (!bound) {
    ::TerminateProcess(launched.process.get(), 1);
    return bound.error();
  }
  return launched;
}

}  // namespace agenttask::os
