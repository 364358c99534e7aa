#include "platform/os/host.hpp"

// These two want the first before them.
// clang-format off
#include <windows.h>
#include <psapi.h>
#include <tlhelp32.h>
// clang-format on
#include <array>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/windows/accounts.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr const wchar_t* kOurKey = L"SOFTWARE\\AgentTask\\ThisBoot";
constexpr const wchar_t* kBootValue = L"Id";

/// A text of the registry; empty when it is not there.
std::string registry_text(HKEY root, const wchar_t* key, const wchar_t* value) {
  std::array<wchar_t, 256> text{};
  DWORD bytes = sizeof text;
  if (::RegGetValueW(root, key, value, RRF_RT_REG_SZ, nullptr, text.data(), &bytes) != ERROR_SUCCESS)
    return {};
  return to_utf8(text.data());
}

/// Windows answers programs by what they say they know, unless it is asked for its version like this.
RTL_OSVERSIONINFOW system_version() {
  RTL_OSVERSIONINFOW facts{};
  facts.dwOSVersionInfoSize = sizeof facts;
  using Ask = LONG(WINAPI*)(RTL_OSVERSIONINFOW*);
  const HMODULE library = ::GetModuleHandleW(L"ntdll.dll");
  const auto ask =
      library == nullptr
          ? nullptr
          : reinterpret_cast<Ask>(reinterpret_cast<void*>(::GetProcAddress(library, "RtlGetVersion")));
  if (ask != nullptr) ask(&facts);
  return facts;
}

std::int64_t to_milliseconds(const FILETIME& time) {
  constexpr std::uint64_t kTicks = 10'000;  // of 100 ns
  const auto ticks = (static_cast<std::uint64_t>(time.dwHighDateTime) << 32) | time.dwLowDateTime;
  return static_cast<std::int64_t>(ticks / kTicks);
}

/// A key that the system forgets at the next boot holds a number that was drawn in this one.
std::string boot_id_below(HKEY root) {
  if (auto known = registry_text(root, kOurKey, kBootValue); !known.empty()) return known;
  HKEY key = nullptr;
  if (::RegCreateKeyExW(root, kOurKey, 0, nullptr, REG_OPTION_VOLATILE, KEY_READ | KEY_WRITE, nullptr, &key,
                        nullptr) != ERROR_SUCCESS) {
    return {};
  }
  // Two that come at once: who reads again has what was written last, and that stays.
  const std::wstring drawn = to_wide(hex_encode(random_bytes(16)));
  const auto bytes = static_cast<DWORD>((drawn.size() + 1) * sizeof(wchar_t));
  ::RegSetValueExW(key, kBootValue, 0, REG_SZ, reinterpret_cast<const BYTE*>(drawn.c_str()), bytes);
  ::RegCloseKey(key);
  return registry_text(root, kOurKey, kBootValue);
}

std::int64_t count_threads() {
  const Handle snapshot(::CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0));
  THREADENTRY32 entry{};
  entry.dwSize = sizeof entry;
  std::int64_t count = 0;
  const DWORD own = ::GetCurrentProcessId();
  if (!snapshot.is_open() || ::Thread32First(snapshot.get(), &entry) == 0) return 0;
  do {
    if (entry.th32OwnerProcessID == own) ++count;
    entry.dwSize = sizeof entry;
  } while (::Thread32Next(snapshot.get(), &entry) != 0);
  return count;
}

}  // namespace

std::string host_name() {
  std::array<wchar_t, 256> name{};
  auto length = static_cast<DWORD>(name.size());
  if (::GetComputerNameExW(ComputerNameDnsHostname, name.data(), &length) == 0 || length == 0)
    return "localhost";
  return to_utf8({name.data(), length});
}

std::string platform_name() {
  SYSTEM_INFO facts{};
  ::GetNativeSystemInfo(&facts);
  switch (facts.wProcessorArchitecture) {
    case PROCESSOR_ARCHITECTURE_AMD64:
      return "windows-x86_64";
    case PROCESSOR_ARCHITECTURE_ARM64:
      return "windows-aarch64";
    default:
      return "windows";
  }
}

std::string system_description() {
  constexpr const wchar_t* kKey = L"SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
  constexpr DWORD kFirstBuildOf11 = 22000;
  const auto version = system_version();
  auto name = registry_text(HKEY_LOCAL_MACHINE, kKey, L"ProductName");
  // Windows 11 still has the old name there.
  constexpr std::string_view kOldName = "Windows 10";
  if (version.dwBuildNumber >= kFirstBuildOf11 && name.starts_with(kOldName))
    name.replace(0, kOldName.size(), "Windows 11");
  return (name.empty() ? "Windows" : name) + ", " + std::to_string(version.dwMajorVersion) + "." +
         std::to_string(version.dwMinorVersion) + "." + std::to_string(version.dwBuildNumber);
}

std::string boot_id() {
  auto known = boot_id_below(HKEY_LOCAL_MACHINE);
  return known.empty() ? boot_id_below(HKEY_CURRENT_USER) : known;
}

Result<std::uint64_t> free_disk_bytes(const std::filesystem::path& folder) {
  ULARGE_INTEGER free_bytes{};
  if (::GetDiskFreeSpaceExW(folder.c_str(), &free_bytes, nullptr, nullptr) == 0)
    return system_error("cannot tell the free space of " + to_utf8(folder.native()), ::GetLastError());
  return free_bytes.QuadPart;
}

std::string current_user_name() {
  return account_name(user_of_this_process());
}

bool is_administrator() {
  const Sid administrators = administrators_sid();
  BOOL member = FALSE;
  const bool is_member =
      ::CheckTokenMembership(nullptr, administrators.get(), &member) != 0 && member != FALSE;
  return is_member || user_of_this_process() == system_sid();
}

std::int64_t current_pid() {
  return ::GetCurrentProcessId();
}

Result<ResourceUsage> own_usage() {
  ResourceUsage usage;
  const HANDLE self = ::GetCurrentProcess();
  PROCESS_MEMORY_COUNTERS_EX memory{};
  memory.cb = sizeof memory;
  if (::GetProcessMemoryInfo(self, reinterpret_cast<PROCESS_MEMORY_COUNTERS*>(&memory), sizeof memory) == 0)
    return system_error("cannot tell what memory this process has", ::GetLastError());
  usage.resident_bytes = memory.WorkingSetSize;
  usage.private_bytes = memory.PrivateUsage;
  usage.threads = count_threads();
  FILETIME created{};
  FILETIME ended{};
  FILETIME kernel{};
  FILETIME user{};
  if (::GetProcessTimes(self, &created, &ended, &kernel, &user) != 0)
    usage.cpu_milliseconds = to_milliseconds(kernel) + to_milliseconds(user);
  DWORD handles = 0;
  if (::GetProcessHandleCount(self, &handles) != 0) usage.open_files = handles;
  return usage;
}

}  // namespace agenttask::os
