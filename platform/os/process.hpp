#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"

/// Child processes: started clean, watched on both streams, and stopped with everything they started.
namespace agenttask::os {

/// The whole environment of a child, by name.
using Environment = std::map<std::string, std::string>;

/// The variable that marks every process of a run, so that what is left of it can be found after a crash of
/// ours.
inline constexpr std::string_view kRunMarkVariable = "AGENTTASK_RUN_ID";

/// The variable that tells a command which choice was made.
inline constexpr const char* kOptionVariable = "AGENTTASK_OPTION";

enum class OutputStream : std::uint8_t { standard_output, standard_error };

/// What to run and how.
struct ProcessSpec {
  /// The program and its arguments. A name without a slash is looked up in PATH of `environment`; a relative
  /// path is taken from `cwd`.
  std::vector<std::string> argv;
  /// Where it starts; empty: the root folder.
  std::string cwd = {};
  /// The whole environment: begin with `clean_environment(run_as)` and add. The run mark is added by `run`.
  /// Names that `check_environment` refuses make the start fail.
  Environment environment = {};
  /// What we tell the child in variables of our own (AGENTTASK_*), which nobody else may set.
  Environment own_environment = {};
  /// What the child reads on standard input; empty: it reads an end of file at once. A child that never reads
  /// it blocks nobody.
  std::string standard_input = {};
  /// Keep standard input open after `standard_input`: the observer writes to it while the child runs.
  bool interactive = false;
  /// The user to run as; empty: as ourselves. Needs root.
  std::string run_as = {};
  /// The run mark; empty: none. `RUN/PART` marks a part of a run: whoever stops the run stops its parts, and
  /// stopping a part leaves the rest of the run alone.
  std::string run_id = {};
  /// A file to which the process adds a line about itself before the program's first instruction; empty:
  /// none. It outlives us, so that `stop_marked` finds the process in it after a crash of ours.
  std::filesystem::path record = {};
  /// From the start of the process, on the monotonic clock; zero: no limit.
  std::chrono::milliseconds timeout{0};
  /// Between the polite stop and the kill.
  std::chrono::milliseconds grace{5000};
  /// How long the streams are read after the main process has ended, while somebody still holds them.
  std::chrono::milliseconds drain{1000};
};

/// A process as people look for it.
struct ProcessInfo {
  std::int64_t pid = 0;
  std::string command =
      {};  ///< its command line, at most 256 bytes; its short name where that is not readable
};

/// How a run ended. A child that exits with 1 is a value, not an error.
struct ProcessOutcome {
  /// Set when the main process exited by itself: 0 to 255. On Windows all 32 bits, read as a signed number,
  /// as that system's own shells show it: -1073741819 is a memory fault.
  std::optional<int> exit_code = {};
  std::optional<int> signal_number = {};  ///< set when a signal ended it; on Windows 9 when we killed it
  std::string signal_name = {};           ///< "SIGKILL"
  bool started = false;                   ///< false only when a stop had been asked for before the start
  bool timed_out = false;                 ///< the timeout passed while the main process ran
  bool stopped = false;            ///< the stop token asked while the main process ran, or before it started
  bool streams_left_open = false;  ///< somebody still held a stream when `drain` was over
  std::chrono::milliseconds duration{0};    ///< from the start to the end of the main process
  std::vector<ProcessInfo> survivors = {};  ///< what could not be stopped after a timeout or a stop
};

/// Standard input of an interactive child. Lives as long as its run. Threads: only within the callbacks of
/// the run's observer.
class ProcessInput {
 public:
  virtual ~ProcessInput() = default;
  /// Hands bytes to the child, which takes them when it likes. `limit` when 16 MiB wait for it already; what
  /// is written to a child that has closed its end is dropped.
  virtual Result<void> write(std::string_view bytes) = 0;
  /// No more will come: the child reads an end of file behind what waits.
  virtual void close() = 0;
};

/// Told about a run on the thread that called `run`. Its methods must not throw. While one of them works the
/// child's streams are not read: a slow observer slows the child down, and costs no memory.
class ProcessObserver {
 public:
  virtual ~ProcessObserver() = default;
  /// The process has been started and has begun the program. Called once, before any output.
  virtual void started(std::int64_t pid) = 0;
  /// Its standard input, of an interactive run. Called once, after `started`.
  virtual void opened(ProcessInput& /*input*/) {}
  /// It is about to be asked to end, because its timeout passed or the stop token asked.
  virtual void stopping(bool /*timed_out*/) {}
  /// Bytes as they come, at most 64 KiB at a time; the two streams in no order between each other.
  virtual void output(OutputStream stream, std::string_view bytes) = 0;
};

/// How the processes of a run are held together.
enum class Containment : std::uint8_t {
  marks,   ///< they are found by marks, descent, group and session
  groups,  ///< besides, the system holds them in a group that they can't leave (Linux: control groups)
};

struct ContainmentStatus {
  Containment in_force = Containment::marks;
  std::string detail = {};  ///< where the groups are, or why there are none
};

/// What `stop_marked` found and what it could not stop.
struct StopReport {
  std::vector<ProcessInfo> found = {};
  std::vector<ProcessInfo> survivors = {};
};

/// Starts processes, watches them and stops their whole trees. One for each program, made before it starts
/// children by other means (it should not), and passed by reference to whoever runs something.
///
/// A run's mark is the variable above and, where the system has such a thing, a limit that no program
/// has a use for and that everything started by the run inherits whatever else it sheds. Where the system has
/// groups for it that we may make, a run with a `run_id` begins in one of its own, before its first
/// instruction, and everything that it starts is in there; killing that is one step, whatever is being forked
/// meanwhile. Only who may change such groups (root) can leave, or has another service start something.
///
/// Children get: a session and process group of their own, no descriptor of ours but the three streams,
/// default signals and an empty signal mask, umask 022, and exactly the environment of the spec with the run
/// mark.
///
/// A run ends when its main process ends, plus at most `drain` for streams that somebody still holds. After a
/// normal end, processes that the command left in the background on purpose are left alone. At the timeout
/// and on a stop the whole tree is asked to end (SIGTERM), and killed when `grace` is over, until nothing is
/// left or two seconds have passed; what is left then is reported as survivors. The tree is: the process
/// group and session, the descendants, everything that carries the run mark or is in the run's group of the
/// system, whoever was one of these when seen before, and orphans without any sign where no other run can
/// have left them.
///
/// Threads: any; one call of `run` for each thread that runs something.
/// Crash: children live on when we are killed; `stop_marked` finds them afterwards.
class ProcessSupervisor {
 public:
  /// Makes this process the one that orphans of its children fall to (where the system can do that), so that
  /// no descendant escapes by double fork. `at_most`: marks alone, also where groups could be made.
  explicit ProcessSupervisor(Containment at_most = Containment::groups);
  ~ProcessSupervisor();
  ProcessSupervisor(const ProcessSupervisor&) = delete;
  ProcessSupervisor& operator=(const ProcessSupervisor&) = delete;

  /// Runs `spec` to its end on the calling thread.
  ///
  /// Errors mean that nothing was started: `not_found` with field `argv` (no such program), `cwd` (no such
  /// folder) or `runAs` (no such user); `denied` with field `argv`, `cwd` or `runAs` (not executable, not
  /// allowed); `invalid` (empty argv, NUL bytes, a bad environment, not a program); `limit` (arguments too
  /// long); `unavailable` (no memory, process or descriptor left: trying later may work).
  [[nodiscard]] Result<ProcessOutcome> run(const ProcessSpec& spec, const std::stop_token& stop,
                                           ProcessObserver& observer);

  /// Starts a program that is no run of ours and goes on when we end; nobody waits for it, and no stop
  /// reaches it. It has a session of its own and, where we are in a control group below the top, one beside
  /// ours; our environment, streams that lead nowhere. `program`: its file with an absolute path, and its
  /// arguments. What has to be asked of a service manager for it is `launch_outliving`'s. Errors as of `run`.
  [[nodiscard]] Result<void> launch_apart(const std::vector<std::string>& program);

  /// Whether the system has what one more child takes: descriptors, memory, a process. `unavailable` says
  /// what is short. It may be otherwise a moment later, so `run` can still say so.
  [[nodiscard]] Result<void> check_room();

  /// Finds what is left of runs that an earlier start of the agent began, asks it to end, and kills it after
  /// `grace`. Returns at once when there is nothing. Blocks at most `grace` and two seconds.
  ///
  /// What belongs to them: whoever carries their mark, or is in a group of the system with their name; the
  /// processes in `records` (files of `ProcessSpec`,
  /// written in the present boot), whose number and start both agree, and their group and session while
  /// they are there; and the descendants of all these. Others in a group or session that has the number
  /// of a recorded process that is gone are survivors, left alone: the number may be somebody else's now.
  [[nodiscard]] StopReport stop_marked(std::span<const std::string> run_ids, std::chrono::milliseconds grace,
                                       std::span<const std::filesystem::path> records = {});

  /// Collects background processes that were left by ended runs and have ended since. `run` does it at its
  /// start and end; a program that lives long calls it now and then (each poll is enough). Cheap.
  void reap_orphans();

  /// What holds the runs together now. Where groups are usable, but the last run could not have one, this
  /// says so; such a run begins all the same.
  [[nodiscard]] ContainmentStatus containment() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The file that `run` would run, without starting it, as far as names and access rights tell: the same
/// errors with field `argv`, no others. What only starting it can tell (its interpreter, say) is not seen.
[[nodiscard]] Result<std::filesystem::path> locate_program(const ProcessSpec& spec);

/// The minimal environment of a child: PATH, HOME, USER, LOGNAME, SHELL, LANG=C.UTF-8 of `run_as` (empty: of
/// ourselves); nothing else of ours. `not_found` with field `runAs` for an unknown user.
[[nodiscard]] Result<Environment> clean_environment(std::string_view run_as = {});

/// Whether these variables may be given to a child: names are not empty and without '=', names and values
/// without NUL, and none steers the loader (LD_*, DYLD_*) or is ours (AGENTTASK_*). `invalid` with field
/// `env.NAME`.
[[nodiscard]] Result<void> check_environment(const Environment& variables);

/// Puts `added` into `environment`; a name that is there already gets the new value. Names are the same when
/// they differ in the case of letters only, on systems that take them so (Windows).
void add_variables(Environment& environment, const Environment& added);

/// What a program returns to pass on the exit code of a child: the code itself where the system can carry it,
/// otherwise 255 (on POSIX only 0 to 255 arrive).
[[nodiscard]] int exit_code_to_pass_on(int code);

/// The argv that runs a shell line: shell is "" (the system's own: /bin/sh -c; cmd.exe /d /s /c), "sh",
/// "bash", "powershell" or "cmd". `invalid` with field `shell` for other names, `unsupported` for one that
/// this system does not have; `invalid` and `limit` with field `cmd` for a line that the shell can't take
/// whole (cmd.exe: one line of about 8,000 characters).
[[nodiscard]] Result<std::vector<std::string>> shell_command(std::string_view line,
                                                             std::string_view shell = {});

}  // namespace agenttask::os
