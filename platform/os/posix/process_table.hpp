#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <signal.h>
#include <string>
#include <string_view>
#include <vector>

#include "platform/os/posix/descriptor.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {

/// One process as the system's table shows it. Private to platform/os.
struct ProcessEntry {
  int pid = 0;
  int parent = 0;
  int group = 0;
  int session = 0;
  char state = '?';
  /// When it began, in a unit of the system's own: with the pid it names one process, whatever is reused.
  std::uint64_t start = 0;
  [[nodiscard]] bool is_zombie() const { return state == 'Z' || state == 'X'; }
};

[[nodiscard]] std::optional<ProcessEntry> read_process(int pid);
/// All processes that we can see, in no order.
[[nodiscard]] std::vector<ProcessEntry> read_processes();
/// The processes that wrote themselves into the record (see `ProcessSpec::record`), as they were then.
[[nodiscard]] std::vector<ProcessEntry> read_records(const std::filesystem::path& record);
/// The mark that a run with this id passes on to all its descendants (see `inherit_mark`).
[[nodiscard]] std::uint64_t inherited_mark(std::string_view run_id);
/// The mark of the whole run, of the mark of a part of it (`RUN/PART`).
[[nodiscard]] std::uint64_t inherited_mark_of_whole(std::uint64_t mark);
/// What the process has in the place of that mark; nothing when we may not look, or the system has no such
/// mark.
[[nodiscard]] std::optional<std::uint64_t> read_inherited_mark(int pid);
/// The value of the run mark in the environment that the process began with; nothing when it has none or we
/// may not look.
[[nodiscard]] std::optional<std::string> read_run_mark(int pid);
/// Its command line, at most 256 bytes of UTF-8; its short name in brackets when there is none.
[[nodiscard]] ProcessInfo describe_process(int pid);
/// The same, of what the system says of it.
[[nodiscard]] ProcessInfo make_description(int pid, std::string command_line, const std::string& short_name);
/// Sends the signal to that very process; nothing happens when it has gone, even when its pid is in use
/// again (as far as the system lets us make sure).
void signal_process(int pid, std::uint64_t start, int signal_number);

/// From now on orphans of our children fall to us, where the system can do that.
void adopt_orphans();
/// A descriptor that becomes readable when the process ends; not open where there is none to be had.
[[nodiscard]] Descriptor open_process_handle(int pid);

/// How a child ended.
struct ProcessEnd {
  bool by_signal = false;
  int number = 0;  ///< exit code or signal
};
/// What waitid said of a child that nobody has collected yet.
[[nodiscard]] ProcessEnd end_of(const siginfo_t& ended);
/// "SIGKILL".
[[nodiscard]] std::string signal_name(int number);

}  // namespace agenttask::os
