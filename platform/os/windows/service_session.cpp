#include "platform/os/windows/service_session.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <tlhelp32.h>

#include "platform/os/windows/control_events.hpp"
#include "platform/os/windows/event_log.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/process_facts.hpp"
#include "platform/os/windows/program.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;

constexpr DWORD kHint = 20'000;  // ms in which the manager hears of us again
constexpr auto kSignOfLife = 5s;
constexpr std::chrono::milliseconds kLongestTransition = 10min;  // then the manager may take us for hung
constexpr DWORD kPreshutdown = 120'000;  // ms that a shutdown of the machine waits for the last runs

// The manager calls main without a context: the session that `run` made waits here for it.
std::atomic<ServiceSession*>& session() {
  static std::atomic<ServiceSession*> one{nullptr};
  return one;
}

std::uint32_t parent_of(std::uint32_t pid) {
  for (const auto& entry : read_processes()) {
    if (entry.pid == pid) return entry.parent;
  }
  return 0;
}

bool is_transition(DWORD state) {
  return state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING;
}

/// The time that the machine's shutdown gives us is the service's own setting, which only it can know.
void ask_for_time_at_shutdown(const wchar_t* name) {
  const SC_HANDLE manager = ::OpenSCManagerW(nullptr, nullptr, SC_MANAGER_CONNECT);
  if (manager == nullptr) return;
  if (const SC_HANDLE service = ::OpenServiceW(manager, name, SERVICE_CHANGE_CONFIG); service != nullptr) {
    SERVICE_PRESHUTDOWN_INFO info{kPreshutdown};
    ::ChangeServiceConfig2W(service, SERVICE_CONFIG_PRESHUTDOWN_INFO, &info);
    ::CloseServiceHandle(service);
  }
  ::CloseServiceHandle(manager);
}

}  // namespace

ServiceSession::ServiceSession(const Body& body, std::vector<std::string> arguments)
    : body_(body), arguments_(std::move(arguments)), longest_(kLongestTransition) {}

ServiceSession* ServiceSession::current() {
  return session().load();
}

bool ServiceSession::is_wanted() {
  const std::uint32_t parent = parent_of(::GetCurrentProcessId());
  if (parent == 0) return false;
  const Handle process(::OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, parent));
  wchar_t path[MAX_PATH];
  DWORD length = MAX_PATH;
  if (!process.is_open() || ::QueryFullProcessImageNameW(process.get(), 0, path, &length) == 0) return false;
  const std::wstring services = system_folder() + L"\\services.exe";
  return ::CompareStringOrdinal(path, static_cast<int>(length), services.c_str(), -1, TRUE) == CSTR_EQUAL;
}

bool ServiceSession::run(const Body& body, std::vector<std::string> arguments, int& exit_code) {
  ServiceSession one(body, std::move(arguments));
  session().store(&one);
  wchar_t any_name[] = L"";  // a process with one service: the manager does not look at it
  const SERVICE_TABLE_ENTRYW table[] = {{any_name, &ServiceSession::main}, {nullptr, nullptr}};
  const bool served = ::StartServiceCtrlDispatcherW(table) != 0;
  session().store(nullptr);
  const std::lock_guard lock(one.mutex_);  // whoever reported the end has left
  exit_code = one.exit_code_;
  return served;
}

void WINAPI ServiceSession::main(DWORD count, wchar_t** words) {
  if (ServiceSession* const one = current()) one->serve(count, words);
}

void ServiceSession::serve(DWORD count, wchar_t** words) {
  const wchar_t* const name = count > 0 ? words[0] : L"";
  handle_ = ::RegisterServiceCtrlHandlerExW(name, &ServiceSession::control, this);
  if (handle_ == nullptr) return;
  report(SERVICE_START_PENDING);
  patience_ = std::jthread([this](const std::stop_token& stop) { keep_manager_waiting(stop); });
  ask_for_time_at_shutdown(name);
  for (DWORD at = 1; at < count; ++at) arguments_.push_back(to_utf8(words[at]));
  {
    const EventLog log;
    exit_code_ = body_(arguments_);
  }
  patience_.request_stop();
  patience_.join();
  if (exit_code_ != 0) {
    const std::lock_guard lock(mutex_);
    status_.dwWin32ExitCode = ERROR_SERVICE_SPECIFIC_ERROR;
    status_.dwServiceSpecificExitCode = static_cast<DWORD>(exit_code_);
  }
  // Last: the process may be ended at any moment from here on.
  report(SERVICE_STOPPED);
}

DWORD WINAPI ServiceSession::control(DWORD control, DWORD, void*, void* session) {
  auto* const one = static_cast<ServiceSession*>(session);
  switch (control) {
    case SERVICE_CONTROL_STOP:
    case SERVICE_CONTROL_PRESHUTDOWN:
    case SERVICE_CONTROL_SHUTDOWN:
      one->stopping();
      ControlEvents::of_this_process().put(ServiceEvent::terminate);
      return NO_ERROR;
    case SERVICE_CONTROL_PARAMCHANGE:
      ControlEvents::of_this_process().put(ServiceEvent::reload);
      return NO_ERROR;
    case SERVICE_CONTROL_INTERROGATE:
      return NO_ERROR;
    default:
      return ERROR_CALL_NOT_IMPLEMENTED;
  }
}

void ServiceSession::running() {
  report(SERVICE_RUNNING);
}

void ServiceSession::stopping(std::chrono::milliseconds most) {
  {
    const std::lock_guard lock(mutex_);
    longest_ = std::max(longest_, most);
  }
  report(SERVICE_STOP_PENDING);
}

void ServiceSession::report(DWORD state) {
  const std::lock_guard lock(mutex_);
  if (status_.dwCurrentState == SERVICE_STOP_PENDING && state == SERVICE_RUNNING)
    return;  // there is no way back
  const bool goes_on = status_.dwCurrentState == state && is_transition(state);
  status_.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
  status_.dwCurrentState = state;
  status_.dwControlsAccepted = state == SERVICE_RUNNING
                                   ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_PRESHUTDOWN |
                                         SERVICE_ACCEPT_SHUTDOWN | SERVICE_ACCEPT_PARAMCHANGE
                                   : 0;
  status_.dwWaitHint = is_transition(state) ? kHint : 0;
  status_.dwCheckPoint = goes_on ? status_.dwCheckPoint + 1 : is_transition(state) ? 1 : 0;
  ::SetServiceStatus(handle_, &status_);
  changed_.notify_all();
}

void ServiceSession::keep_manager_waiting(const std::stop_token& stop) {
  DWORD watched = 0;
  auto since = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    DWORD state = 0;
    std::chrono::milliseconds longest{};
    {
      std::unique_lock lock(mutex_);
      const DWORD before = status_.dwCurrentState;
      const auto changed = [&] { return status_.dwCurrentState != before; };
      // Nothing to do while it runs: woken by the next change alone.
      if (is_transition(before)) {
        changed_.wait_for(lock, stop, kSignOfLife, changed);
      } else {
        changed_.wait(lock, stop, changed);
      }
      state = status_.dwCurrentState;
      longest = longest_;
    }
    const auto now = std::chrono::steady_clock::now();
    if (state != watched) {
      watched = state;
      since = now;
    } else if (is_transition(state) && now - since < longest && !stop.stop_requested()) {
      report(state);
    }
  }
}

}  // namespace agenttask::os
