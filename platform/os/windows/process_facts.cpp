#include "platform/os/windows/process_facts.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <tlhelp32.h>
#include <winternl.h>

#include "platform/base/error_text.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr std::size_t kLongestDescription = 256;
constexpr std::size_t kLargestEnvironment = 1 << 20;  // bytes; the mark is looked for no further
constexpr std::size_t kLargestRecord = 1 << 20;

/// Where 64-bit Windows keeps what a process began with. winternl.h names only some of it.
struct EnvironmentBlock {
  static constexpr std::size_t kParametersInPeb = 0x20;
  static constexpr std::size_t kEnvironmentInParameters = 0x80;
  static constexpr std::size_t kSizeInParameters = 0x3F0;
};

using QueryProcess = NTSTATUS(NTAPI*)(HANDLE, PROCESSINFOCLASS, PVOID, ULONG, PULONG);

QueryProcess query_process() {
  const HMODULE library = ::GetModuleHandleW(L"ntdll.dll");
  return library == nullptr ? nullptr
                            : reinterpret_cast<QueryProcess>(reinterpret_cast<void*>(
                                  ::GetProcAddress(library, "NtQueryInformationProcess")));
}

template <class Value>
bool read_at(HANDLE process, std::uintptr_t address, Value& value) {
  SIZE_T count = 0;
  return ::ReadProcessMemory(process, reinterpret_cast<const void*>(address), &value, sizeof value, &count) !=
             0 &&
         count == sizeof value;
}

/// The environment as it lies in the other process; empty where it can't be read.
std::wstring read_environment(HANDLE process) {
  PROCESS_BASIC_INFORMATION basic{};
  const auto query = query_process();
  if (query == nullptr || query(process, ProcessBasicInformation, &basic, sizeof basic, nullptr) < 0)
    return {};
  std::uintptr_t parameters = 0;
  std::uintptr_t environment = 0;
  std::size_t bytes = 0;
  const auto peb = reinterpret_cast<std::uintptr_t>(basic.PebBaseAddress);
  if (peb == 0 || !read_at(process, peb + EnvironmentBlock::kParametersInPeb, parameters) ||
      !read_at(process, parameters + EnvironmentBlock::kEnvironmentInParameters, environment) ||
      !read_at(process, parameters + EnvironmentBlock::kSizeInParameters, bytes)) {
    return {};
  }
  std::wstring text(std::min(bytes, kLargestEnvironment) / sizeof(wchar_t), L'\0');
  SIZE_T count = 0;
  if (text.empty() || ::ReadProcessMemory(process, reinterpret_cast<const void*>(environment), text.data(),
                                          text.size() * sizeof(wchar_t), &count) == 0) {
    return {};
  }
  text.resize(count / sizeof(wchar_t));
  return text;
}

template <class Number>
bool take_number(std::string_view& line, Number& number) {
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc()) return false;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  if (!line.empty()) line.remove_prefix(1);
  return true;
}

}  // namespace

std::vector<ProcessEntry> read_processes() {
  std::vector<ProcessEntry> entries;
  const Handle snapshot(::CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0));
  if (!snapshot.is_open()) return entries;
  PROCESSENTRY32W facts{};
  facts.dwSize = sizeof facts;
  for (BOOL more = ::Process32FirstW(snapshot.get(), &facts); more != 0;
       more = ::Process32NextW(snapshot.get(), &facts)) {
    if (facts.th32ProcessID == 0) continue;
    const Handle process(::OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, facts.th32ProcessID));
    const std::uint64_t start = process.is_open() ? start_of(process.get()) : 0;
    entries.push_back({facts.th32ProcessID, facts.th32ParentProcessID, start});
  }
  return entries;
}

std::uint64_t start_of(HANDLE process) {
  FILETIME start{}, end{}, kernel{}, user{};
  if (::GetProcessTimes(process, &start, &end, &kernel, &user) == 0) return 0;
  return (std::uint64_t{start.dwHighDateTime} << 32) | start.dwLowDateTime;
}

Handle open_process(const ProcessEntry& entry, DWORD rights) {
  Handle process(::OpenProcess(rights | PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, entry.pid));
  if (!process.is_open() || entry.start == 0 || start_of(process.get()) != entry.start) return {};
  // A handle that somebody holds keeps the number of a process that has ended.
  if (::WaitForSingleObject(process.get(), 0) != WAIT_TIMEOUT) return {};
  return process;
}

ProcessInfo describe_process(std::uint32_t pid) {
  ProcessInfo info{static_cast<std::int64_t>(pid), {}};
  const Handle process(::OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid));
  std::vector<wchar_t> path(32'768);
  DWORD length = static_cast<DWORD>(path.size());
  if (process.is_open() && ::QueryFullProcessImageNameW(process.get(), 0, path.data(), &length) != 0) {
    info.command = excerpt(to_utf8({path.data(), length}), kLongestDescription);
  } else {
    info.command = "process " + std::to_string(pid);
  }
  return info;
}

std::optional<std::string> read_run_mark(std::uint32_t pid) {
  const Handle process(::OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, FALSE, pid));
  if (!process.is_open()) return std::nullopt;
  const std::wstring environment = read_environment(process.get());
  const std::wstring name = to_wide(kRunMarkVariable) + L"=";
  for (std::size_t at = 0; at < environment.size();) {
    const auto end = std::min(environment.find(L'\0', at), environment.size());
    const std::wstring_view variable(environment.data() + at, end - at);
    if (variable.empty()) break;
    if (variable.starts_with(name)) return to_utf8(variable.substr(name.size()));
    at = end + 1;
  }
  return std::nullopt;
}

std::string record_line(const ProcessEntry& entry) {
  return std::to_string(entry.pid) + " " + std::to_string(entry.start) + "\n";
}

std::vector<ProcessEntry> read_records(const std::filesystem::path& record) {
  std::vector<ProcessEntry> entries;
  std::ifstream file(record, std::ios::binary);
  std::string text(kLargestRecord, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  // A line without an end was cut off by a crash, before its process ran.
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    std::string_view line(text.data() + at, end - at);
    ProcessEntry entry;
    if (take_number(line, entry.pid) && take_number(line, entry.start) && entry.start != 0)
      entries.push_back(entry);
  }
  return entries;
}

}  // namespace agenttask::os
