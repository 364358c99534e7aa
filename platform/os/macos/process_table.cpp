#include "platform/os/posix/process_table.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <libproc.h>
#include <memory>
#include <optional>
#include <signal.h>
#include <sstream>
#include <sys/event.h>
#include <sys/proc.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/os/secure_file.hpp"

namespace agenttask::os {
namespace {

// In ticks that go on whatever the wall clock is set to, by which the table has it. 0 of what is not ours to
// ask for, which no run of ours can have begun.
std::uint64_t start_of(int pid) {
  rusage_info_v0 facts{};
  if (::proc_pid_rusage(pid, RUSAGE_INFO_V0, reinterpret_cast<rusage_info_t*>(&facts)) != 0) return 0;
  return facts.ri_proc_start_abstime;
}

ProcessEntry to_entry(const kinfo_proc& facts) {
  ProcessEntry entry;
  entry.pid = facts.kp_proc.p_pid;
  entry.parent = facts.kp_eproc.e_ppid;
  entry.group = facts.kp_eproc.e_pgid;
  entry.session = std::max(0, ::getsid(entry.pid));  // one that has ended is in none that anybody asks for
  entry.state = facts.kp_proc.p_stat == SZOMB ? 'Z' : 'R';
  entry.start = start_of(entry.pid);
  return entry;
}

std::optional<kinfo_proc> read_facts(int pid) {
  std::array<int, 4> what = {CTL_KERN, KERN_PROC, KERN_PROC_PID, pid};
  kinfo_proc facts{};
  std::size_t size = sizeof facts;
  if (::sysctl(what.data(), what.size(), &facts, &size, nullptr, 0) != 0 || size != sizeof facts) return {};
  if (facts.kp_proc.p_pid != pid) return {};
  return facts;
}

// What the process began with, as the kernel gives it: how many arguments there are, the file, NUL bytes, the
// arguments, the environment.
class Beginning {
 public:
  explicit Beginning(int pid) {
    int most = 0;
    std::size_t size = sizeof most;
    std::array<int, 3> what = {CTL_KERN, KERN_ARGMAX, 0};
    if (::sysctl(what.data(), 2, &most, &size, nullptr, 0) != 0 || most <= static_cast<int>(sizeof(int)))
      return;
    bytes_ = std::make_unique<char[]>(static_cast<std::size_t>(most));
    size = static_cast<std::size_t>(most);
    what = {CTL_KERN, KERN_PROCARGS2, pid};
    if (::sysctl(what.data(), what.size(), bytes_.get(), &size, nullptr, 0) != 0 || size < sizeof(int))
      return;
    int count = 0;
    std::memcpy(&count, bytes_.get(), sizeof count);
    left_ = std::string_view(bytes_.get(), size).substr(sizeof count);
    (void)next();  // the file
    left_.remove_prefix(std::min(left_.find_first_not_of('\0'), left_.size()));
    arguments_ = count;
  }

  /// The arguments with blanks between them. Called once, first.
  std::string arguments() {
    std::string all;
    for (; arguments_ > 0 && !left_.empty(); --arguments_) {
      if (!all.empty()) all += ' ';
      all += next();
    }
    return all;
  }

  /// The environment's next entry; empty at its end, and where the kernel keeps it back.
  std::string_view next() {
    const auto end = std::min(left_.find('\0'), left_.size());
    const auto text = left_.substr(0, end);
    left_.remove_prefix(std::min(end + 1, left_.size()));
    return text;
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::string_view left_;
  int arguments_ = 0;
};

}  // namespace

std::optional<ProcessEntry> read_process(int pid) {
  const auto facts = read_facts(pid);
  if (!facts) return std::nullopt;
  return to_entry(*facts);
}

std::vector<ProcessEntry> read_processes() {
  constexpr std::size_t kRoomForNew = 64;
  std::array<int, 4> what = {CTL_KERN, KERN_PROC, KERN_PROC_ALL, 0};
  std::vector<ProcessEntry> entries;
  for (int attempt = 0; attempt < 8; ++attempt) {
    std::size_t size = 0;
    if (::sysctl(what.data(), what.size(), nullptr, &size, nullptr, 0) != 0) return entries;
    std::vector<kinfo_proc> table(size / sizeof(kinfo_proc) + kRoomForNew);
    size = table.size() * sizeof(kinfo_proc);
    // It fails when more began in between than there is room for.
    if (::sysctl(what.data(), what.size(), table.data(), &size, nullptr, 0) != 0) continue;
    table.resize(size / sizeof(kinfo_proc));
    entries.reserve(table.size());
    for (const auto& facts : table) {
      if (facts.kp_proc.p_pid > 0) entries.push_back(to_entry(facts));
    }
    return entries;
  }
  return entries;
}

std::vector<ProcessEntry> read_records(const std::filesystem::path& record) {
  constexpr std::size_t kMostBytes = 1024 * 1024;
  std::vector<ProcessEntry> entries;
  const auto text = read_file(record, kMostBytes);
  if (!text) return entries;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    ProcessEntry entry;
    const char* const end = line.data() + line.size();
    const auto pid = std::from_chars(line.data(), end, entry.pid);
    if (pid.ec != std::errc() || entry.pid <= 0 || pid.ptr == end || *pid.ptr != ' ') continue;
    const auto start = std::from_chars(pid.ptr + 1, end, entry.start);
    if (start.ec == std::errc() && start.ptr == end) entries.push_back(entry);
  }
  return entries;
}

std::optional<std::uint64_t> read_inherited_mark(int) {
  return std::nullopt;
}

// Programs that the system protects keep their environment to themselves, root or not: then nobody can say.
std::optional<std::string> read_run_mark(int pid) {
  const auto wanted = std::string(kRunMarkVariable) + "=";
  Beginning beginning(pid);
  (void)beginning.arguments();
  bool any = false;
  for (auto entry = beginning.next(); !entry.empty(); entry = beginning.next()) {
    any = true;
    if (entry.starts_with(wanted)) return std::string(entry.substr(wanted.size()));
  }
  if (!any) return std::nullopt;
  return std::string();
}

ProcessInfo describe_process(int pid) {
  std::array<char, 2 * MAXCOMLEN + 1> name{};
  (void)::proc_name(pid, name.data(), name.size() - 1);
  return make_description(pid, Beginning(pid).arguments(), name.data());
}

// Between the look and the signal the number may pass to another process, which the system gives no way to
// exclude: it hands numbers out in turn, so that it takes all the others first.
void signal_process(int pid, std::uint64_t start, int signal_number) {
  const auto entry = read_process(pid);
  if (entry && entry->start == start) ::kill(pid, signal_number);
}

// Orphans go to launchd; who is one of a run is known by having been seen before.
void adopt_orphans() {}

// A queue that tells of the end. Not open where it has ended already: then it is found by looking.
Descriptor open_process_handle(int pid) {
  Descriptor queue(::kqueue());
  struct kevent event {};
  EV_SET(&event, static_cast<uintptr_t>(pid), EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, nullptr);
  if (!queue.is_open() || ::fcntl(queue.get(), F_SETFD, FD_CLOEXEC) != 0 ||
      ::kevent(queue.get(), &event, 1, nullptr, 0, nullptr) != 0) {
    return {};
  }
  return queue;
}

// What waitid says of a status differs between versions of the system; the process table keeps the status
// itself until the child is collected.
ProcessEnd end_of(const siginfo_t& ended) {
  const auto facts = read_facts(ended.si_pid);
  if (!facts) return {ended.si_code != CLD_EXITED, ended.si_status};
  const int status = facts->kp_proc.p_xstat;
  if (WIFSIGNALED(status)) return {true, WTERMSIG(status)};
  return {false, WEXITSTATUS(status)};
}

std::string signal_name(int number) {
  if (number <= 0 || number >= NSIG) return "SIG" + std::to_string(number);
  std::string name = std::string("SIG") + sys_signame[number];
  for (auto& letter : name) {
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
  }
  return name;
}

}  // namespace agenttask::os
