#include "platform/os/process.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <set>
#include <signal.h>
#include <sys/stat.h>
#include <thread>

#include "platform/os/posix/child_registry.hpp"
#include "platform/os/posix/launch.hpp"
#include "platform/os/posix/open_descriptor.hpp"
#include "platform/os/posix/process_tree.hpp"
#include "platform/os/posix/program.hpp"
#include "platform/os/posix/run_groups.hpp"
#include "platform/os/posix/running_process.hpp"

extern char** environ;  // not every system declares it

namespace agenttask::os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kKillLimit{2000};
constexpr milliseconds kLook{20};
constexpr milliseconds kLookAtForks{2};

Error shortage(std::string_view what, int error_number) {
  auto error = io_error(what, error_number);
  error.code = ErrorCode::unavailable;
  return error;
}

// The same descriptor, moved above the standard streams, where the child's are put.
Descriptor above_standard_streams(Descriptor descriptor) {
  if (!descriptor.is_open() || descriptor.get() > STDERR_FILENO) return descriptor;
  return Descriptor(::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

struct Pipe {
  Descriptor ours;
  Descriptor childs;
};

Result<Pipe> open_output_pipe() {
  auto [read, write] = open_pipe();
  if (!read.is_open()) return shortage("cannot open a pipe for the output", errno);
  Pipe pipe{std::move(read), above_standard_streams(std::move(write))};
  if (!pipe.childs.is_open() || ::fcntl(pipe.ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return shortage("cannot prepare a pipe for the output", errno);
  }
  return pipe;
}

// The whole input, where the child reads it whenever it likes, or never: nobody has to write while it runs.
Result<Descriptor> open_input(std::string_view bytes) {
  if (bytes.empty()) {
    auto nothing = above_standard_streams(Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
    if (!nothing.is_open()) return shortage("cannot open /dev/null as the input", errno);
    return nothing;
  }
  auto input = above_standard_streams(open_bytes(bytes));
  if (!input.is_open()) return shortage("cannot make room for the input", errno);
  return input;
}

// An end for the child and one for us, which does not block.
Result<Pipe> open_input_pipe() {
  auto [read, write] = open_pipe();
  if (!read.is_open()) return shortage("cannot open a pipe for the input", errno);
  Pipe pipe{std::move(write), above_standard_streams(std::move(read))};
  if (!pipe.childs.is_open() || ::fcntl(pipe.ours.get(), F_SETFL, O_NONBLOCK) != 0) {
    return shortage("cannot prepare a pipe for the input", errno);
  }
  return pipe;
}

// What the child reads: everything at once, or a pipe that stays open.
Result<Pipe> open_standard_input(const ProcessSpec& spec) {
  if (spec.interactive) return open_input_pipe();
  auto input = open_input(spec.standard_input);
  if (!input) return input.error();
  return Pipe{Descriptor(), std::move(*input)};
}

// Where the child adds who it is; closed when no record is kept.
Result<Descriptor> open_record(const std::filesystem::path& file) {
  constexpr int kHow = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
  if (file.empty()) return Descriptor();
  auto record = above_standard_streams(Descriptor(::open(file.c_str(), kHow, 0600)));
  if (!record.is_open()) return shortage("cannot write to the record of processes " + file.string(), errno);
  return record;
}

bool has_nul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

Result<void> check(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return Error{ErrorCode::invalid, "cannot run a command without a program's name", "argv"};
  }
  if (std::any_of(spec.argv.begin(), spec.argv.end(), has_nul)) {
    return Error{ErrorCode::invalid, "cannot run a command with a NUL byte in its arguments", "argv"};
  }
  if (has_nul(spec.cwd)) return Error{ErrorCode::invalid, "the folder's name contains a NUL byte", "cwd"};
  if (has_nul(spec.run_id)) return Error{ErrorCode::invalid, "the run's id contains a NUL byte", "run_id"};
  return check_environment(spec.environment);
}

Result<void> set_user(LaunchRequest& request, const std::string& name) {
  if (name.empty()) return {};
  auto user = find_user(name);
  if (!user) return Error{user.error().code, "cannot run as another user: " + user.error().message, "runAs"};
  if (::geteuid() != 0) {
    if (user->id == ::geteuid()) return {};
    const auto ourselves = find_user(::geteuid());
    return Error{ErrorCode::denied,
                 "cannot run as " + name + ": this needs root, and the agent runs as " +
                     (ourselves ? ourselves->name : std::to_string(::geteuid())),
                 "runAs"};
  }
  request.groups = groups_of(*user);
  request.user = std::move(*user);
  return {};
}

Result<LaunchRequest> prepare(const ProcessSpec& spec) {
  if (auto checked = check(spec); !checked) return checked.error();
  LaunchRequest request;
  auto program = find_program(spec.argv.front(), spec.environment);
  if (!program) return program.error();
  request.executable = std::move(*program);
  request.argv = spec.argv;
  request.cwd = spec.cwd.empty() ? "/" : spec.cwd;
  // The mark first: whoever looks for it reads no further.
  if (!spec.run_id.empty()) request.mark = inherited_mark(spec.run_id);
  if (!spec.run_id.empty()) request.environment.push_back(std::string(kRunMarkVariable) + "=" + spec.run_id);
  for (const auto* variables : {&spec.own_environment, &spec.environment}) {
    for (const auto& [variable, value] : *variables) {
      request.environment.push_back(variable);
      request.environment.back().append("=").append(value);
    }
  }
  if (auto set = set_user(request, spec.run_as); !set) return set.error();
  return request;
}

void sleep_for(milliseconds time) {
  std::this_thread::sleep_for(time);
}

}  // namespace

struct ProcessSupervisor::State {
  explicit State(Containment at_most)
      : groups(at_most == Containment::groups ? RunGroups::of_this_process()
                                              : std::make_unique<RunGroups>("", "")) {}
  /// Launches it in the group, if there is one; where it can't enter, it begins all the same.
  struct Launched {
    pid_t pid = 0;
    bool grouped = false;  ///< it is in the group; otherwise it is known by its marks alone
  };
  Result<Launched> launch(LaunchRequest& request, const std::optional<RunGroup>& group);

  ChildRegistry children;
  const std::unique_ptr<RunGroups> groups;
};

Result<ProcessSupervisor::State::Launched> ProcessSupervisor::State::launch(
    LaunchRequest& request, const std::optional<RunGroup>& group) {
  const Descriptor folder = group ? group->open_folder() : Descriptor();
  const int closed = folder.is_open() ? 0 : errno;
  request.group = folder.get();
  const auto child = children.launch(request);
  if (!child) return child.error();
  const int failed = closed != 0 ? closed : child->group_error;
  if (group) groups->note_entry(failed);
  return Launched{child->pid, group && failed == 0};
}

ProcessSupervisor::ProcessSupervisor(Containment at_most) : state_(std::make_unique<State>(at_most)) {
  adopt_orphans();
  // Whoever started us may have had SIGCHLD ignored, which we would inherit: exit codes would be lost.
  ::signal(SIGCHLD, SIG_DFL);
  // A child that closes its standard input is no reason to end.
  ::signal(SIGPIPE, SIG_IGN);
}

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
  auto input = open_standard_input(spec);
  if (!input) return input.error();
  auto output = open_output_pipe();
  if (!output) return output.error();
  auto error_output = open_output_pipe();
  if (!error_output) return error_output.error();
  auto record = open_record(spec.record);
  if (!record) return record.error();
  request->record = record->is_open() ? record->get() : -1;
  request->standard_input = input->childs.get();
  request->standard_output = output->childs.get();
  request->standard_error = error_output->childs.get();

  if (request->user) {
    // A script that opens /dev/stderr opens the pipe anew, which otherwise only we may do.
    for (const auto* pipe : {&*input, &*output, &*error_output}) {
      if (!pipe->ours.is_open()) continue;
      if (!give_pipe(pipe->childs.get(), request->user->id)) {
        return io_error("cannot give the pipes to " + request->user->name, errno);
      }
    }
  }

  state_->children.reap_orphans();
  const auto group = state_->groups->make(spec.run_id);
  const auto child = state_->launch(*request, group);
  if (!child) return child.error();
  input->childs.close();
  record->close();
  output->childs.close();
  error_output->childs.close();
  ProcessOutcome outcome;
  {
    RunningProcess process(child->pid, std::move(input->ours), std::move(output->ours),
                           std::move(error_output->ours), spec, state_->children,
                           child->grouped ? &*group : nullptr, stop, observer);
    outcome = process.follow();
  }
  state_->children.reap_orphans();
  return outcome;
}

Result<void> ProcessSupervisor::launch_apart(const std::vector<std::string>& program) {
  const Descriptor nothing = above_standard_streams(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  if (!nothing.is_open()) return shortage("cannot open /dev/null", errno);
  LaunchRequest request;
  request.executable = program.front();
  request.argv = program;
  for (char** variable = ::environ; *variable != nullptr; ++variable)
    request.environment.emplace_back(*variable);
  request.cwd = "/";
  request.standard_input = request.standard_output = request.standard_error = nothing.get();
  // Where it can't be moved there it stays in ours: nobody is known to end the processes of a group there.
  const Descriptor beside = open_group_beside_ours();
  request.group = beside.get();
  const auto child = state_->children.launch_apart(request);
  if (!child) return child.error();
  return {};
}

StopReport ProcessSupervisor::stop_marked(std::span<const std::string> run_ids, milliseconds grace,
                                          std::span<const std::filesystem::path> records) {
  StopReport report;
  std::set<std::string> marks(run_ids.begin(), run_ids.end());
  marks.erase("");
  std::vector<ProcessEntry> leaders;
  for (const auto& record : records) {
    for (auto& leader : read_records(record)) leaders.push_back(leader);
  }
  if (marks.empty() && leaders.empty()) return report;
  const auto groups = state_->groups->find(run_ids);
  ProcessTree tree(std::move(marks), std::move(leaders), groups);
  report.found = tree.describe_living();
  if (report.found.empty()) {
    for (const auto& entry : tree.doubtful()) report.survivors.push_back(describe_process(entry.pid));
    return report;
  }

  for (const auto& entry : tree.living()) {
    signal_process(entry.pid, entry.start, SIGTERM);
    signal_process(entry.pid, entry.start, SIGCONT);
  }
  const auto asked = steady_clock::now();
  while (steady_clock::now() < asked + grace && !tree.living().empty()) sleep_for(kLook);
  const auto killing = steady_clock::now();
  for (int quiet = 0; quiet < tree.quiet_looks() && steady_clock::now() < killing + kKillLimit;) {
    quiet = tree.kill() == 0 && !tree.grew() ? quiet + 1 : 0;
    sleep_for(tree.grew() || quiet > 0 ? kLookAtForks : kLook);
  }
  report.survivors = tree.describe_left();
  for (const auto& entry : tree.doubtful()) report.survivors.push_back(describe_process(entry.pid));
  reap_orphans();
  return report;
}

Result<void> ProcessSupervisor::check_room() {
  return state_->children.check_room();
}

void ProcessSupervisor::reap_orphans() {
  state_->children.reap_orphans();
  state_->groups->remove_empty();
}

ContainmentStatus ProcessSupervisor::containment() const {
  return state_->groups->status();
}

}  // namespace agenttask::os
