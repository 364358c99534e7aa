#include "platform/os/linux/process_table.hpp"

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
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/base/encoding.hpp"
#include "platform/os/posix/descriptor.hpp"
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

constexpr unsigned kPartBits = 16;
constexpr std::uint64_t kPartOfMark = std::uint64_t{1} << kPartBits;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14'695'981'039'346'656'037U;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 1'099'511'628'211U;
  return hash;
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

std::uint64_t inherited_mark(std::string_view run_id) {
  // In a range that no administrator sets and that is not the system's "unlimited": 44 bits say which run it
  // is, and 16 which part of it.
  constexpr std::uint64_t kBase = std::uint64_t{1} << 61;
  const auto slash = std::min(run_id.find('/'), run_id.size());
  const std::string_view part = run_id.substr(slash);
  const std::uint64_t run = fnv1a(run_id.substr(0, slash)) & ((std::uint64_t{1} << 44) - 1);
  return kBase | run << kPartBits | (part.empty() ? 0 : 1 + fnv1a(part) % (kPartOfMark - 1));
}

std::uint64_t inherited_mark_of_whole(std::uint64_t mark) {
  return mark & ~(kPartOfMark - 1);
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
  auto command = read_facts(pid, "cmdline", kCommandBytes);
  while (!command.empty() && command.back() == '\0') command.pop_back();
  for (auto& byte : command) {
    if (static_cast<unsigned char>(byte) < 0x20) byte = ' ';
  }
  if (command.empty()) {
    command = read_facts(pid, "comm", kCommandBytes);
    while (!command.empty() && command.back() == '\n') command.pop_back();
    command = "[" + command + "]";
  }
  command.resize(command.size() - incomplete_utf8_tail(command));
  if (!is_utf8(command)) {
    for (auto& byte : command) {
      if (static_cast<unsigned char>(byte) >= 0x80) byte = '?';
    }
  }
  return ProcessInfo{pid, command};
}

void signal_process(int pid, std::uint64_t start, int signal_number) {
  const Descriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
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

}  // namespace agenttask::os
