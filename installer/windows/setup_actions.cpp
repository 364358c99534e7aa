// What the installer for Windows does beside copying: a program that it carries with it and runs.
//
//   setup_actions refuse-tasks  refuses a task inside the agent, which would be stopped half way with it
//   setup_actions stop          stops the service and waits for its end, as long as it comes forward
//   setup_actions configure     has the service started again when it fails, and its path in quotes
//   setup_actions forget        ends tasks outside the agent, and removes what it keeps in the registry
//   setup_actions purge         removes the agent's folder in ProgramData
//
// Exit code: 0, or what Windows says is wrong (the installer's log shows it).
#include <algorithm>
#include <array>
#include <cstddef>
#include <cwchar>
#include <map>
#include <set>
#include <string>
#include <vector>
#include <windows.h>
// after windows.h
#include <shlobj.h>
#include <tlhelp32.h>

#include "platform/os/windows/handle.hpp"

namespace {

using agenttask::os::Handle;

constexpr const wchar_t* kService = L"AgentTask";
constexpr const wchar_t* kAgent = L"agenttaskd.exe";
constexpr const wchar_t* kInstaller = L"msiexec.exe";
constexpr DWORD kPause = 100;            // ms between two looks
constexpr DWORD kPatience = 60'000;      // ms without a step forward
constexpr DWORD kGonePatience = 30'000;  // ms that an ended service's process may take to go

/// Owns a handle of the service manager.
class ServiceHandle {
 public:
  explicit ServiceHandle(SC_HANDLE value) : value_(value) {}
  ServiceHandle(const ServiceHandle&) = delete;
  ServiceHandle& operator=(const ServiceHandle&) = delete;
  ~ServiceHandle() {
    if (value_ != nullptr) ::CloseServiceHandle(value_);
  }
  [[nodiscard]] SC_HANDLE get() const { return value_; }

 private:
  SC_HANDLE value_;
};

DWORD ask(const ServiceHandle& service, SERVICE_STATUS_PROCESS& status) {
  DWORD needed = 0;
  const BOOL done = ::QueryServiceStatusEx(service.get(), SC_STATUS_PROCESS_INFO,
                                           reinterpret_cast<BYTE*>(&status), sizeof status, &needed);
  return done != 0 ? ERROR_SUCCESS : ::GetLastError();
}

/// Asks it to stop, again and again where it can't hear that yet, and follows it to the end.
DWORD stop_and_wait(const ServiceHandle& service) {
  SERVICE_STATUS_PROCESS status{};
  if (const DWORD failed = ask(service, status); failed != ERROR_SUCCESS) return failed;
  // Its end is looked for, too: a service says that it stopped before its process lets go of its file.
  const Handle process(status.dwProcessId == 0 ? nullptr
                                               : ::OpenProcess(SYNCHRONIZE, FALSE, status.dwProcessId));
  DWORD step = status.dwCheckPoint;
  DWORD state = status.dwCurrentState;
  ULONGLONG since = ::GetTickCount64();
  while (status.dwCurrentState != SERVICE_STOPPED) {
    if (status.dwCurrentState != SERVICE_STOP_PENDING) {
      SERVICE_STATUS answer{};
      ::ControlService(service.get(), SERVICE_CONTROL_STOP, &answer);
    }
    ::Sleep(kPause);
    if (const DWORD failed = ask(service, status); failed != ERROR_SUCCESS) return failed;
    const ULONGLONG now = ::GetTickCount64();
    if (status.dwCheckPoint != step || status.dwCurrentState != state) {
      step = status.dwCheckPoint;
      state = status.dwCurrentState;
      since = now;
    } else if (now - since > std::max(kPatience, status.dwWaitHint)) {
      return ERROR_SERVICE_REQUEST_TIMEOUT;
    }
  }
  if (!process.is_open() || ::WaitForSingleObject(process.get(), kGonePatience) == WAIT_OBJECT_0)
    return ERROR_SUCCESS;
  return ERROR_TIMEOUT;
}

/// A machine without the service has nothing to do.
DWORD with_service(DWORD rights, DWORD (*body)(const ServiceHandle&)) {
  const ServiceHandle manager(::OpenSCManagerW(nullptr, nullptr, SC_MANAGER_CONNECT));
  if (manager.get() == nullptr) return ::GetLastError();
  const ServiceHandle service(::OpenServiceW(manager.get(), kService, rights));
  if (service.get() != nullptr) return body(service);
  return ::GetLastError() == ERROR_SERVICE_DOES_NOT_EXIST ? ERROR_SUCCESS : ::GetLastError();
}

/// Started again 5, 30 and 60 s after a failure, also after one that it told of by an exit code; after a day
/// without one the count begins anew.
DWORD set_recovery(const ServiceHandle& service) {
  std::array<SC_ACTION, 3> actions{
      {{SC_ACTION_RESTART, 5'000}, {SC_ACTION_RESTART, 30'000}, {SC_ACTION_RESTART, 60'000}}};
  SERVICE_FAILURE_ACTIONSW recovery{};
  recovery.dwResetPeriod = 24 * 60 * 60;
  recovery.cActions = static_cast<DWORD>(actions.size());
  recovery.lpsaActions = actions.data();
  if (::ChangeServiceConfig2W(service.get(), SERVICE_CONFIG_FAILURE_ACTIONS, &recovery) == 0)
    return ::GetLastError();
  SERVICE_FAILURE_ACTIONS_FLAG flag{TRUE};
  if (::ChangeServiceConfig2W(service.get(), SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, &flag) != 0)
    return ERROR_SUCCESS;
  // Wine does not know it.
  const DWORD failed = ::GetLastError();
  return failed == ERROR_INVALID_LEVEL ? ERROR_SUCCESS : failed;
}

/// The installer writes the path of a service without arguments as it is, and "C:\Program.exe" would be tried
/// first.
DWORD quote_path(const ServiceHandle& service) {
  DWORD bytes = 0;
  ::QueryServiceConfigW(service.get(), nullptr, 0, &bytes);
  std::vector<std::max_align_t> room(bytes / sizeof(std::max_align_t) + 1);
  auto* const config = reinterpret_cast<QUERY_SERVICE_CONFIGW*>(room.data());
  if (::QueryServiceConfigW(service.get(), config, bytes, &bytes) == 0) return ::GetLastError();
  const std::wstring path = config->lpBinaryPathName;
  if (path.starts_with(L'"')) return ERROR_SUCCESS;
  const std::wstring quoted = L'"' + path + L'"';
  const BOOL done =
      ::ChangeServiceConfigW(service.get(), SERVICE_NO_CHANGE, SERVICE_NO_CHANGE, SERVICE_NO_CHANGE,
                             quoted.c_str(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  return done != 0 ? ERROR_SUCCESS : ::GetLastError();
}

DWORD configure(const ServiceHandle& service) {
  const DWORD failed = set_recovery(service);
  return failed != ERROR_SUCCESS ? failed : quote_path(service);
}

struct RunningProgram {
  DWORD parent = 0;
  std::wstring name = {};
};

std::map<DWORD, RunningProgram> running_programs() {
  std::map<DWORD, RunningProgram> all;
  const Handle snapshot(::CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0));
  PROCESSENTRY32W entry{};
  entry.dwSize = sizeof entry;
  if (!snapshot.is_open() || ::Process32FirstW(snapshot.get(), &entry) == 0) return all;
  do {
    all[entry.th32ProcessID] = {entry.th32ParentProcessID, entry.szExeFile};
    entry.dwSize = sizeof entry;
  } while (::Process32NextW(snapshot.get(), &entry) != 0);
  return all;
}

bool is_named(const std::wstring& name, const wchar_t* wanted) {
  return ::CompareStringOrdinal(name.c_str(), -1, wanted, -1, TRUE) == CSTR_EQUAL;
}

/// When it was made, in a number that grows; 0: not known.
ULONGLONG birth_of(DWORD pid) {
  const Handle process(::OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid));
  FILETIME created{};
  FILETIME other{};
  if (!process.is_open() || ::GetProcessTimes(process.get(), &created, &other, &other, &other) == 0) return 0;
  return (static_cast<ULONGLONG>(created.dwHighDateTime) << 32) | created.dwLowDateTime;
}

/// Who began it, who began that, and so on.
std::vector<DWORD> ancestors(DWORD pid, const std::map<DWORD, RunningProgram>& all) {
  constexpr std::size_t kMost = 64;
  std::vector<DWORD> found;
  ULONGLONG birth = birth_of(pid);
  while (found.size() < kMost) {
    const auto here = all.find(pid);
    if (here == all.end() || !all.contains(here->second.parent)) break;
    pid = here->second.parent;
    // A number may be given again: who was made later is no parent.
    const ULONGLONG before = birth_of(pid);
    if (pid == 0 || before > birth) break;
    birth = before;
    found.push_back(pid);
  }
  return found;
}

/// Whether the service began it, or what it began did. Not what a recorder began: that outlives the service.
bool is_below(DWORD service, DWORD pid, const std::map<DWORD, RunningProgram>& all) {
  for (const DWORD above : ancestors(pid, all)) {
    if (above == service) return true;
    if (is_named(all.at(above).name, kAgent)) return false;
  }
  return false;
}

/// Of an installation that runs, nothing but its msiexec tells where it came from, and there is one at a
/// time.
DWORD refuse_tasks(const ServiceHandle& service) {
  SERVICE_STATUS_PROCESS status{};
  if (const DWORD failed = ask(service, status); failed != ERROR_SUCCESS) return failed;
  if (status.dwProcessId == 0) return ERROR_SUCCESS;
  const auto all = running_programs();
  for (const auto& [pid, program] : all) {
    if (is_named(program.name, kInstaller) && is_below(status.dwProcessId, pid, all))
      return ERROR_CIRCULAR_DEPENDENCY;
  }
  return ERROR_SUCCESS;
}

/// The agent's folder, also for paths of more than 260 characters; empty where Windows does not say where it
/// is.
std::wstring data_folder() {
  wchar_t* data = nullptr;
  const HRESULT found = ::SHGetKnownFolderPath(FOLDERID_ProgramData, KF_FLAG_DONT_VERIFY, nullptr, &data);
  std::wstring folder = SUCCEEDED(found) ? L"\\\\?\\" + std::wstring(data) + L"\\AgentTask" : std::wstring();
  ::CoTaskMemFree(data);
  return folder;
}

/// Whether it is the copy of the agent's program that records a task outside the service.
bool is_recorder(HANDLE process, const std::wstring& folder) {
  std::wstring path(32'768, L'\0');
  auto length = static_cast<DWORD>(path.size());
  if (::QueryFullProcessImageNameW(process, 0, path.data(), &length) == 0) return false;
  path.resize(length);
  if (!path.starts_with(L"\\\\?\\")) path.insert(0, L"\\\\?\\");
  const auto most = static_cast<int>(std::min(path.size(), folder.size()));
  return path.size() > folder.size() && path[folder.size()] == L'\\' &&
         ::CompareStringOrdinal(path.c_str(), most, folder.c_str(), most, TRUE) == CSTR_EQUAL;
}

/// Tasks that outlive the agent have nobody left to tell of their end: they end, too. The one that removes
/// the agent may finish.
void end_tasks() {
  const std::wstring folder = data_folder();
  const auto all = running_programs();
  std::set<DWORD> spared;
  for (const auto& [pid, program] : all) {
    if (!is_named(program.name, kInstaller)) continue;
    const auto above = ancestors(pid, all);
    spared.insert(above.begin(), above.end());
  }
  for (const auto& [pid, program] : all) {
    if (folder.empty() || spared.contains(pid) || !is_named(program.name, kAgent)) continue;
    const Handle process(
        ::OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_TERMINATE | SYNCHRONIZE, FALSE, pid));
    if (!process.is_open() || !is_recorder(process.get(), folder)) continue;
    // What it runs is in a job of its own, which ends with it.
    if (::TerminateProcess(process.get(), 1) != 0) ::WaitForSingleObject(process.get(), kGonePatience);
  }
}

DWORD forget() {
  end_tasks();
  const LSTATUS result = ::RegDeleteTreeW(HKEY_LOCAL_MACHINE, L"SOFTWARE\\AgentTask");
  return result == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : static_cast<DWORD>(result);
}

/// What is in use goes when the machine starts again.
DWORD remove_at_boot(const std::wstring& path) {
  const DWORD failed = ::GetLastError();
  return ::MoveFileExW(path.c_str(), nullptr, MOVEFILE_DELAY_UNTIL_REBOOT) != 0 ? ERROR_SUCCESS : failed;
}

DWORD remove_folder(const std::wstring& folder);

DWORD remove_entry(const std::wstring& folder, const WIN32_FIND_DATAW& entry) {
  const std::wstring path = folder + L"\\" + entry.cFileName;
  if ((entry.dwFileAttributes & FILE_ATTRIBUTE_READONLY) != 0)
    ::SetFileAttributesW(path.c_str(), entry.dwFileAttributes & ~static_cast<DWORD>(FILE_ATTRIBUTE_READONLY));
  const bool is_folder = (entry.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
  const bool leads_elsewhere = (entry.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
  if (is_folder && !leads_elsewhere) return remove_folder(path);
  const BOOL done = is_folder ? ::RemoveDirectoryW(path.c_str()) : ::DeleteFileW(path.c_str());
  return done != 0 ? ERROR_SUCCESS : remove_at_boot(path);
}

/// With all that is in it. What leads elsewhere is removed, and what it leads to is left alone. Goes on
/// behind what can't be removed; answers the first failure.
DWORD remove_folder(const std::wstring& folder) {
  DWORD first = ERROR_SUCCESS;
  WIN32_FIND_DATAW entry{};
  const HANDLE search = ::FindFirstFileW((folder + L"\\*").c_str(), &entry);
  if (search != INVALID_HANDLE_VALUE) {
    do {
      if (std::wcscmp(entry.cFileName, L".") == 0 || std::wcscmp(entry.cFileName, L"..") == 0) continue;
      if (const DWORD failed = remove_entry(folder, entry); first == ERROR_SUCCESS) first = failed;
    } while (::FindNextFileW(search, &entry) != 0);
    ::FindClose(search);
  }
  if (::RemoveDirectoryW(folder.c_str()) != 0 || first != ERROR_SUCCESS) return first;
  return remove_at_boot(folder);
}

DWORD purge() {
  const std::wstring folder = data_folder();
  if (folder.empty()) return ERROR_PATH_NOT_FOUND;
  const DWORD attributes = ::GetFileAttributesW(folder.c_str());
  if (attributes == INVALID_FILE_ATTRIBUTES) return ERROR_SUCCESS;
  if ((attributes & FILE_ATTRIBUTE_REPARSE_POINT) == 0) return remove_folder(folder);
  return ::RemoveDirectoryW(folder.c_str()) != 0 ? ERROR_SUCCESS : ::GetLastError();
}

}  // namespace

int wmain(int count, wchar_t** words) {
  const std::wstring verb = count == 2 ? words[1] : L"";
  const auto answer = [](DWORD result) { return static_cast<int>(result); };
  if (verb == L"refuse-tasks") {
    // Whoever may not even look is no task.
    const DWORD result = with_service(SERVICE_QUERY_STATUS, &refuse_tasks);
    return result == ERROR_CIRCULAR_DEPENDENCY ? answer(result) : 0;
  }
  if (verb == L"stop") return answer(with_service(SERVICE_STOP | SERVICE_QUERY_STATUS, &stop_and_wait));
  if (verb == L"configure")
    return answer(with_service(SERVICE_CHANGE_CONFIG | SERVICE_QUERY_CONFIG | SERVICE_START, &configure));
  if (verb == L"forget") return answer(forget());
  if (verb == L"purge") return answer(purge());
  return ERROR_INVALID_PARAMETER;
}
