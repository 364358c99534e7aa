#include "platform/os/posix/process_table.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <signal.h>
#include <sstream>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/os/secure_file.hpp"

namespace agenttask::os {
namespace {

constexpr std::size_t kCommandBytes = 256;
constexpr std::size_t kEnvironmentBytes = 8 * 1024 * 1024;  // more than the kernel lets a process begin with

// The first `most` bytes of /proc/PID/NAME; empty when it can't be read.
std::string read_facts(int pid, const char* name, std::size_t most) {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/%s", pid, name);
  const Descriptor file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  std::string bytes;
  if (!file.is_open()) return bytes;
  std::array<char, 4096> chunk{};
  while (bytes.size() < most) {
    const auto count = ::read(file.get(), chunk.data(), std::min(chunk.size(), most - bytes.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    bytes.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return bytes;
}

}  // namespace

namespace {

std::optional<ProcessEntry> parse_stat(int pid, const std::string& text) {
  // "pid (name) state parent group session …": the name may hold blanks and parentheses, so start after its
  // last one.
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  ProcessEntry entry{.pid = pid};
  unsigned long long start = 0;
  const int fields =
      std::sscanf(text.c_str() + name_end + 1,
                  " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  &entry.state, &entry.parent, &entry.group, &entry.session, &start);
  if (fields != 5) return std::nullopt;
  entry.start = start;
  return entry;
}

}  // namespace

std::optional<ProcessEntry> read_process(int pid) {
  return parse_stat(pid, read_facts(pid, "stat", 4096));
}

std::vector<ProcessEntry> read_records(const std::filesystem::path& record) {
  constexpr std::size_t kMostBytes = 1024 * 1024;
  std::vector<ProcessEntry> entries;
  const auto text = read_file(record, kMostBytes);
  if (!text) return entries;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    int pid = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), pid).ec != std::errc() || pid <= 0) continue;
    if (const auto entry = parse_stat(pid, line)) entries.push_back(*entry);
  }
  return entries;
}

std::optional<std::uint64_t> read_inherited_mark(int pid) {
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_RTTIME, nullptr, &limit) == 0) return limit.rlim_max;
  const auto text = read_facts(pid, "limits", 8192);  // everybody may read it
  constexpr std::string_view kName = "Max realtime timeout";
  const auto at = text.find(kName);
  unsigned long long most = 0;
  if (at == std::string::npos || std::sscanf(text.c_str() + at + kName.size(), " %*s %llu", &most) != 1) {
    return std::nullopt;
  }
  return most;
}

std::vector<ProcessEntry> read_processes() {
  std::vector<ProcessEntry> entries;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), &::closedir);
  if (!folder) return entries;
  std::vector<int> pids;
  while (const auto* item = ::readdir(folder.get())) {  // a stream of our own: no other thread reads it
    int pid = 0;
    const std::string_view name(item->d_name);
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) continue;
    pids.push_back(pid);
  }
  // The youngest first, as they are the first to be gone again.
  for (auto pid = pids.rbegin(); pid != pids.rend(); ++pid) {
    if (const auto entry = read_process(*pid)) entries.push_back(*entry);
  }
  return entries;
}

std::optional<std::string> read_run_mark(int pid) {
  const auto environment = read_facts(pid, "environ", kEnvironmentBytes);
  const auto wanted = std::string(kRunMarkVariable) + "=";
  for (std::size_t begin = 0; begin < environment.size();) {
    const auto end = std::min(environment.find('\0', begin), environment.size());
    const std::string_view entry(environment.data() + begin, end - begin);
    if (entry.starts_with(wanted)) return std::string(entry.substr(wanted.size()));
    begin = end + 1;
  }
  if (environment.empty()) return std::nullopt;
  return std::string();
}

ProcessInfo describe_process(int pid) {
  auto command_line = read_facts(pid, "cmdline", kCommandBytes);
  while (!command_line.empty() && command_line.back() == '\0') command_line.pop_back();
  auto short_name = command_line.empty() ? read_facts(pid, "comm", kCommandBytes) : std::string();
  while (!short_name.empty() && short_name.back() == '\n') short_name.pop_back();
  return make_description(pid, std::move(command_line), short_name);
}

void signal_process(int pid, std::uint64_t start, int signal_number) {
  const auto handle = open_process_handle(pid);
  // Looked at after the handle was taken: when it is the process we mean now, the handle is the one of that
  // process.
  const auto entry = read_process(pid);
  if (!entry || entry->start != start) return;
  if (handle.is_open()) {
    ::syscall(SYS_pidfd_send_signal, handle.get(), signal_number, nullptr, 0);
  } else if (errno != ESRCH) {
    ::kill(pid, signal_number);  // no descriptor left for a handle: a small risk is better than a process
                                 // left running
  }
}

void adopt_orphans() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

Descriptor open_process_handle(int pid) {
  return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

ProcessEnd end_of(const siginfo_t& ended) {
  return {ended.si_code != CLD_EXITED, ended.si_status};
}

std::string signal_name(int number) {
  const char* short_name = ::sigabbrev_np(number);
  return short_name ? std::string("SIG") + short_name : "SIG" + std::to_string(number);
}

}  // namespace agenttask::os
