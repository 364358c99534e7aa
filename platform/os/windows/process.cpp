#include "platform/os/process.hpp"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "platform/base/encoding.hpp"
#include "platform/os/windows/command_line.hpp"
#include "platform/os/windows/launch.hpp"
#include "platform/os/windows/polite_stop.hpp"
#include "platform/os/windows/process_facts.hpp"
#include "platform/os/windows/program.hpp"
#include "platform/os/windows/running_process.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kKillLimit{2000};
constexpr milliseconds kLook{20};
constexpr unsigned kKilledCode = 137;
constexpr DWORDLONG kLeastMemory = 32ULL << 20;  // of what the system can still promise, for one more child

bool cannot_be_passed(const std::string& text) {
  return text.find('\0') != std::string::npos || !is_utf8(text);
}

Result<void> check(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return Error{ErrorCode::invalid, "cannot run a command without a program's name", "argv"};
  }
  if (std::any_of(spec.argv.begin(), spec.argv.end(), cannot_be_passed)) {
    return Error{ErrorCode::invalid,
                 "cannot run a command with a NUL byte, or bytes that are not UTF-8, in its arguments",
                 "argv"};
  }
  if (cannot_be_passed(spec.cwd)) {
    return Error{ErrorCode::invalid, "the folder's name contains a NUL byte, or is not UTF-8", "cwd"};
  }
  if (cannot_be_passed(spec.run_id))
    return Error{ErrorCode::invalid, "the run's id contains a NUL byte", "run_id"};
  for (const auto& [name, value] : spec.environment) {
    if (!is_utf8(name) || !is_utf8(value)) {
      return Error{ErrorCode::invalid, "the environment has a variable that is not UTF-8", "env." + name};
    }
  }
  if (auto user = check_run_as(spec.run_as); !user) return user;
  return check_environment(spec.environment);
}

Result<std::wstring> make_line(const Program& program, const std::vector<std::string>& argv) {
  if (program.is_batch) return make_batch_command_line(system_folder() + L"\\cmd.exe", program.file, argv);
  const std::wstring file = std::filesystem::path(program.file).filename().wstring();
  const bool is_cmd = ::CompareStringOrdinal(file.c_str(), -1, L"cmd.exe", -1, TRUE) == CSTR_EQUAL;
  return is_cmd && is_shell_line(argv) ? make_shell_command_line(argv) : make_command_line(argv);
}

Result<LaunchRequest> prepare(const ProcessSpec& spec) {
  if (auto checked = check(spec); !checked) return checked.error();
  LaunchRequest request;
  request.name = spec.argv.front();
  request.cwd = start_folder(spec.cwd);
  const DWORD folder = ::GetFileAttributesW(request.cwd.c_str());
  if (folder == INVALID_FILE_ATTRIBUTES || (folder & FILE_ATTRIBUTE_DIRECTORY) == 0) {
    const bool denied = folder == INVALID_FILE_ATTRIBUTES && ::GetLastError() == ERROR_ACCESS_DENIED;
    return Error{denied ? ErrorCode::denied : ErrorCode::not_found,
                 "cannot start in the folder " + spec.cwd + ": " +
                     (denied ? "access is denied" : "there is no such folder"),
                 "cwd"};
  }
  auto program = find_program(spec.argv.front(), spec.cwd, spec.environment);
  if (!program) return program.error();
  auto line = make_line(*program, spec.argv);
  if (!line) return line.error();
  request.executable = program->is_batch ? system_folder() + L"\\cmd.exe" : program->file;
  request.command_line = *std::move(line);
  request.environment = make_environment_block({&spec.environment, &spec.own_environment}, spec.run_id);
  request.record = spec.record;
  return request;
}

struct Streams {
  StreamEnds input;
  StreamEnds output;
  StreamEnds error;
};

Result<Streams> open_streams(const ProcessSpec& spec) {
  Streams streams;
  if (spec.interactive || !spec.standard_input.empty()) {
    auto input = open_stream(StreamDirection::to_child);
    if (!input) return input.error();
    streams.input = *std::move(input);
  } else {
    auto nothing = open_nothing();
    if (!nothing) return nothing.error();
    streams.input.childs = *std::move(nothing);
  }
  for (StreamEnds* ends : {&streams.output, &streams.error}) {
    auto opened = open_stream(StreamDirection::from_child);
    if (!opened) return opened.error();
    *ends = *std::move(opened);
  }
  return streams;
}

/// Who is left of runs that are no longer ours: by the record, by the mark, and by descent from these.
class Remains {
 public:
  Remains(std::span<const std::string> run_ids, std::span<const std::filesystem::path> records)
      : run_ids_(run_ids.begin(), run_ids.end()) {
    for (const auto& record : records) {
      for (const auto& entry : read_records(record)) known_.insert({entry.pid, entry.start});
    }
  }

  /// Looks again.
  std::vector<ProcessEntry> living() {
    auto entries = read_processes();
    const DWORD own = ::GetCurrentProcessId();
    std::erase_if(entries, [&](const ProcessEntry& entry) { return entry.pid == own || entry.start == 0; });
    std::vector<ProcessEntry> found;
    for (const auto& entry : entries) {
      if (is_known(entry) || carries_mark(entry)) take(entry, found);
    }
    for (bool grew = true; grew;) {
      grew = false;
      for (const auto& entry : entries) {
        if (!is_known(entry) && descends(entry, found)) {
          take(entry, found);
          grew = true;
        }
      }
    }
    std::erase_if(found, [](const ProcessEntry& entry) { return !open_process(entry, 0).is_open(); });
    return found;
  }

 private:
  using Identity = std::pair<std::uint32_t, std::uint64_t>;
  [[nodiscard]] bool is_known(const ProcessEntry& entry) const {
    return known_.contains({entry.pid, entry.start});
  }
  void take(const ProcessEntry& entry, std::vector<ProcessEntry>& found) {
    known_.insert({entry.pid, entry.start});
    found.push_back(entry);
  }
  bool carries_mark(const ProcessEntry& entry) {
    if (strangers_.contains({entry.pid, entry.start})) return false;
    const auto mark = read_run_mark(entry.pid);
    const bool ours = mark && std::any_of(run_ids_.begin(), run_ids_.end(), [&](const std::string& run_id) {
                        return is_of_run(*mark, run_id);
                      });
    if (!ours) strangers_.insert({entry.pid, entry.start});
    return ours;
  }
  static bool descends(const ProcessEntry& entry, const std::vector<ProcessEntry>& found) {
    return std::any_of(found.begin(), found.end(), [&](const ProcessEntry& parent) {
      return parent.pid == entry.parent && parent.start <= entry.start;
    });
  }

  std::set<std::string> run_ids_;
  std::set<Identity> known_;
  std::set<Identity> strangers_;  ///< whose environment was read, which does not change
};

}  // namespace

struct ProcessSupervisor::State {
  RunJobs jobs;
};

ProcessSupervisor::ProcessSupervisor(Containment) : state_(std::make_unique<State>()) {}
ProcessSupervisor::~ProcessSupervisor() = default;

Result<ProcessOutcome> ProcessSupervisor::run(const ProcessSpec& spec, const std::stop_token& stop,
                                              ProcessObserver& observer) {
  auto request = prepare(spec);
  if (!request) return request.error();
  if (stop.stop_requested()) {
    ProcessOutcome outcome;
    outcome.stopped = true;
    return outcome;
  }
  auto streams = open_streams(spec);
  if (!streams) return streams.error();
  request->standard_input = streams->input.childs.get();
  request->standard_output = streams->output.childs.get();
  request->standard_error = streams->error.childs.get();
  reap_orphans();
  auto job = state_->jobs.make(spec.run_id);
  if (!job) return job.error();
  auto child = launch(*request, **job);
  if (!child) return child.error();
  for (StreamEnds* ends : {&streams->input, &streams->output, &streams->error}) ends->childs.close();
  ProcessOutcome outcome;
  {
    RunningProcess process(*std::move(child), std::move(streams->input.ours), std::move(streams->output.ours),
                           std::move(streams->error.ours), spec, *job, state_->jobs, stop, observer);
    outcome = process.follow();
  }
  job->reset();
  reap_orphans();
  return outcome;
}

StopReport ProcessSupervisor::stop_marked(std::span<const std::string> run_ids, milliseconds grace,
                                          std::span<const std::filesystem::path> records) {
  StopReport report;
  const bool names_nobody =
      std::all_of(run_ids.begin(), run_ids.end(), [](const auto& id) { return id.empty(); });
  if (names_nobody && records.empty()) return report;
  Remains remains(run_ids, records);
  const auto living = remains.living();
  if (living.empty()) return report;
  std::vector<std::uint32_t> pids;
  for (const auto& entry : living) {
    pids.push_back(entry.pid);
    report.found.push_back(describe_process(entry.pid));
  }
  if (grace.count() > 0) {
    for (const auto pid : pids) ask_to_end(pid, {&pid, 1});
    const auto asked = steady_clock::now();
    while (steady_clock::now() < asked + grace && !remains.living().empty())
      std::this_thread::sleep_for(kLook);
  }
  const auto killing = steady_clock::now();
  std::vector<ProcessEntry> left;
  do {
    for (const auto& job : state_->jobs.find(run_ids)) job->kill(kKilledCode);
    left = remains.living();
    for (const auto& entry : left) {
      if (const Handle process = open_process(entry, PROCESS_TERMINATE); process.is_open()) {
        ::TerminateProcess(process.get(), kKilledCode);
      }
    }
    if (!left.empty()) std::this_thread::sleep_for(kLook);
  } while (!left.empty() && steady_clock::now() < killing + kKillLimit);
  for (const auto& entry : left) report.survivors.push_back(describe_process(entry.pid));
  reap_orphans();
  return report;
}

Result<void> ProcessSupervisor::check_room() {
  MEMORYSTATUSEX memory{};
  memory.dwLength = sizeof memory;
  if (::GlobalMemoryStatusEx(&memory) != 0 && memory.ullAvailPageFile < kLeastMemory) {
    return Error{ErrorCode::unavailable, "no process can be started now: the system has only " +
                                             std::to_string(memory.ullAvailPageFile >> 10) +
                                             " KiB of memory left"};
  }
  for (int stream = 0; stream < 3; ++stream) {
    if (auto opened = open_stream(StreamDirection::from_child); !opened) {
      return with_context(opened.error(), "no process can be started now");
    }
  }
  auto job = Job::create();
  if (!job) return with_context(job.error(), "no process can be started now");
  return {};
}

void ProcessSupervisor::reap_orphans() {
  state_->jobs.remove_empty();
}

ContainmentStatus ProcessSupervisor::containment() const {
  return {Containment::groups, "job objects of Windows"};
}

}  // namespace agenttask::os
