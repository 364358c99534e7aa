#include "platform/os/posix/launch.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <grp.h>
#include <limits>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/os/posix/launch_system.hpp"
#include "platform/os/posix/open_descriptor.hpp"

namespace agenttask::os {
namespace {

enum class Stage : int { fork, session, group, record, streams, user, cwd, descriptors, exec };

struct Failure {
  Stage stage = Stage::fork;
  int error_number = 0;
};

// The child between its start and exec, where the memory is the parent's and only system calls are safe.
class Child {
 public:
  Child(const LaunchRequest& request, const char* const* argv, const char* const* environment, int report,
        int descriptor_limit)
      : request_(request),
        argv_(argv),
        environment_(environment),
        report_(report),
        descriptor_limit_(descriptor_limit) {}

  /// Runs the program, or tells why that can't be; `in_group`: it is in its control group already.
  [[noreturn]] void become_program(bool in_group) {
    if (set_up(in_group)) {
      failure_.stage = Stage::exec;
      // Last: from here on a pending signal may end the child.
      sigset_t none;
      ::sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      ::execve(request_.executable.c_str(), const_cast<char* const*>(argv_),
               const_cast<char* const*>(environment_));
    }
    failure_.error_number = errno;
    [[maybe_unused]] const auto written = ::write(report_, &failure_, sizeof failure_);
    ::_exit(127);
  }

 private:
  bool set_up(bool in_group) {
    return reset_signals() && leave_session() && (in_group || enter_group()) && leave_trace() &&
           bind_streams() && become_user() && enter_folder() && close_others();
  }

  bool reset_signals() {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);  // some can't be set
    return true;
  }

  bool leave_session() {
    failure_.stage = Stage::session;
    ::umask(022);
    return ::setsid() != -1;
  }

  // Before anything of the program, and as who we are: its user may not write there. A run that can't enter
  // begins all the same, which is told.
  bool enter_group() {
    if (request_.group < 0 || enter(request_.group)) return true;
    const Failure note{Stage::group, errno};
    return ::write(report_, &note, sizeof note) == static_cast<ssize_t>(sizeof note);
  }

  bool leave_trace() {
    failure_.stage = Stage::record;
    if (request_.mark) inherit_mark(*request_.mark);
    return request_.record < 0 || write_record(request_.record);
  }

  bool bind_streams() {
    failure_.stage = Stage::streams;
    return ::dup2(request_.standard_input, STDIN_FILENO) != -1 &&
           ::dup2(request_.standard_output, STDOUT_FILENO) != -1 &&
           ::dup2(request_.standard_error, STDERR_FILENO) != -1;
  }

  bool become_user() {
    failure_.stage = Stage::user;
    if (!request_.user) return true;
    return become(request_.groups.data(), request_.groups.size(), request_.user->group, request_.user->id);
  }

  bool enter_folder() {
    failure_.stage = Stage::cwd;
    return ::chdir(request_.cwd.c_str()) == 0;
  }

  // Our own descriptors are close-on-exec; those of libraries and of whoever started us may not be.
  bool close_others() {
    failure_.stage = Stage::descriptors;
    return close_on_exec_from(STDERR_FILENO + 1, descriptor_limit_);
  }

  const LaunchRequest& request_;
  const char* const* argv_;
  const char* const* environment_;
  int report_;
  int descriptor_limit_;
  Failure failure_;
};

/// Starts it, in its group from the beginning where the system can do that: to move there takes a process
/// that lives already many milliseconds, as all processes that fork are waited for. A child of vfork runs
/// before this goes on.
pid_t start(const LaunchRequest& request, Child& child) {
  if (request.group >= 0) {
    const auto begin = [](void* self) { static_cast<Child*>(self)->become_program(true); };
    if (const pid_t pid = start_in_group(request.group, begin, &child); pid > 0) return pid;
  }
#if defined(__APPLE__)
  // There, vfork is declared obsolete, and what a child may do before exec is said of fork alone.
  const pid_t pid = ::fork();
#else
  const pid_t pid =
      ::vfork();        // NOLINT(clang-analyzer-security.insecureAPI.vfork): it only makes system calls
#endif
  if (pid == 0) child.become_program(false);
  return pid;
}

// Signals wait while the child shares our memory: a handler of ours must not run in it.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

std::vector<const char*> pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& text : strings) result.push_back(text.c_str());
  result.push_back(nullptr);
  return result;
}

bool is_shortage(int error_number) {
  return error_number == EAGAIN || error_number == ENOMEM || error_number == EMFILE || error_number == ENFILE;
}

Error exec_error(const std::string& program, int error_number) {
  const auto error = [&](ErrorCode code, const std::string& why) {
    return Error{code, "cannot run " + program + ": " + why, "argv"};
  };
  switch (error_number) {
    case ENOENT:
      return error(ErrorCode::not_found, "there is no such file, or no such interpreter in its first line");
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return error(ErrorCode::not_found, io_error("not a path to a file", error_number).message);
    case EACCES:
    case EPERM:
      return error(ErrorCode::denied, "it is not an executable file for this user");
    case ENOEXEC:
      return error(ErrorCode::invalid,
                   "it is not a program of this system (a script needs a first line with #!)");
    case E2BIG:
      return error(ErrorCode::limit, "arguments and environment are too long for the system");
    case ETXTBSY:
      return error(ErrorCode::unavailable, "somebody is writing to it");
    default:
      return io_error("cannot run " + program, error_number);
  }
}

Error launch_error(const LaunchRequest& request, const Failure& failure) {
  if (is_shortage(failure.error_number)) {
    auto error = io_error("cannot start " + request.executable, failure.error_number);
    error.code = ErrorCode::unavailable;
    error.message += " (the system is short of processes, memory or descriptors)";
    return error;
  }
  if (failure.stage == Stage::exec) return exec_error(request.executable, failure.error_number);
  if (failure.stage == Stage::cwd) {
    auto error = io_error("cannot start in the folder " + request.cwd, failure.error_number);
    error.field = "cwd";
    if (failure.error_number == ENOENT || failure.error_number == ENOTDIR) error.code = ErrorCode::not_found;
    if (failure.error_number == EACCES) error.code = ErrorCode::denied;
    return error;
  }
  if (failure.stage == Stage::record) {
    auto error = io_error("cannot note down the process of " + request.executable, failure.error_number);
    error.code = ErrorCode::unavailable;
    return error;
  }
  if (failure.stage == Stage::user) {
    auto error = io_error("cannot become the user " + request.user->name, failure.error_number);
    error.field = "runAs";
    if (failure.error_number == EPERM) error.code = ErrorCode::denied;
    return error;
  }
  return io_error("cannot start " + request.executable, failure.error_number);
}

// What the child reported before it gave up; nothing when it is running the program. The pipe closes at exec.
std::optional<Failure> read_report(int descriptor, int& group_error) {
  Failure failure;
  for (;;) {
    const auto count = ::read(descriptor, &failure, sizeof failure);
    if (count < 0 && errno == EINTR) continue;
    if (count != static_cast<ssize_t>(sizeof failure)) return std::nullopt;
    if (failure.stage != Stage::group) return failure;
    group_error = failure.error_number;
  }
}

/// Three streams and the child's report, each with two ends; and a few on the way.
constexpr int kPipesOfARun = 6;

int descriptor_limit() {
  constexpr rlim_t kMost = 1 << 20;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMost;
  return static_cast<int>(std::min(limit.rlim_cur, kMost));
}

}  // namespace

Result<Launched> launch(const LaunchRequest& request) {
  auto [report, report_in_child] = open_pipe();
  if (!report.is_open()) return launch_error(request, {Stage::fork, errno});
  const auto argv = pointers(request.argv);
  const auto environment = pointers(request.environment);
  Child child(request, argv.data(), environment.data(), report_in_child.get(), descriptor_limit());
  pid_t pid = -1;
  int failed = 0;
  {
    const AllSignalsBlocked blocked;
    pid = start(request, child);
    failed = errno;
  }
  if (pid < 0) return launch_error(request, {Stage::fork, failed});
  report_in_child.close();
  // A report, and not the child's own variables: the memory is not always shared (the thread sanitizer and
  // qemu-user fork).
  Launched launched{pid};
  if (const auto failure = read_report(report.get(), launched.group_error)) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return launch_error(request, *failure);
  }
  return launched;
}

Result<void> check_launch() {
  const auto shortage = [](int error_number) {
    auto error = io_error("no process can be started now", error_number);
    error.code = ErrorCode::unavailable;
    return error;
  };
  std::vector<PipeEnds> opened;
  for (int count = 0; count < kPipesOfARun; ++count) {
    opened.push_back(open_pipe());
    if (!opened.back().is_open()) return shortage(errno);
  }
  pid_t child = -1;
  int failed = 0;
  {
    const AllSignalsBlocked blocked;
#if defined(__APPLE__)
    child = ::fork();
#else
    child = ::vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork): it calls nothing but _exit
#endif
    if (child == 0) ::_exit(0);
    failed = errno;
  }
  if (child < 0) return shortage(failed);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return {};
}

}  // namespace agenttask::os
