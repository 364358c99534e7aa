#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/runner/live_run.hpp"
#include "agent/runner/outliving_folder.hpp"
#include "agent/runner/run_threads.hpp"
#include "agent/runner/runner.hpp"
#include "agent/scheduler/scheduler.hpp"
#include "platform/base/backoff.hpp"
#include "platform/os/process.hpp"
#include "platform/os/reserved_room.hpp"

namespace agenttask::agent {

/// One task in a slot, from the decision to start it until its end is on disk.
struct ActiveRun {
  explicit ActiveRun(ReadyTask task_) : task(std::move(task_)) {}

  const ReadyTask task;
  std::stop_source stop;
  std::atomic<StopCause> cause = StopCause::none;
  std::optional<MonotonicTime> deadline;  ///< of the timeout; guarded by the runner's mutex
  std::shared_ptr<LiveRun> live;          ///< once its start is on disk; guarded by the runner's mutex
  /// It runs outside the agent's service, or is about to: it is followed, and left alone when we stop.
  std::atomic<bool> outside = false;
  std::optional<OutlivingFolder> folder = {};  ///< where that is recorded; of the run's own thread
  bool has_files = false;  ///< beside the ledger, for its output and its processes; of the run's own thread
  std::uint64_t work_seen = 0;  ///< the runner's `work_`, before its end was stored; of the run's own thread

  /// The first cause counts.
  void ask_to_stop(StopCause why) {
    StopCause none = StopCause::none;
    cause.compare_exchange_strong(none, why);
    stop.request_stop();
  }
};

/// No lock is held while the ledger is called: its listeners come back here.
class Runner::Body {
 public:
  Body(Ledger& ledger, const WorkerRegistry& workers, const Policy& policy, os::ProcessSupervisor& supervisor,
       const Clock& clock, Logger& log, RunnerOptions options);
  ~Body();
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  /// From now on it hears of cancels. Threads: one, before start().
  void listen();
  Result<void> recover();
  Result<void> start();
  void wake();
  void set_slots(unsigned slots);
  void set_drain(std::chrono::milliseconds drain);
  bool stop_run(std::string_view task_id, StopCause cause);
  void stop();
  Result<Explanation> explain(std::string_view task_id);
  [[nodiscard]] bool runs_outside(std::string_view task_id) const;
  RunnerStatus status() const;
  Result<std::unique_ptr<Follower>> follow(std::string_view task_id, Pace pace = Pace::of_the_run,
                                           std::int64_t after = 0);

  // ---- for followers
  Ledger& ledger() { return ledger_; }
  /// The run of this task that is under way, if its number is past `after`.
  [[nodiscard]] std::shared_ptr<LiveRun> live_run(std::string_view task_id, std::int64_t after) const;
  /// Counts the changes of tasks' states.
  [[nodiscard]] std::uint64_t changes() const;
  /// Waits until changes() is past `seen`.
  void wait_for_change(std::uint64_t seen, std::chrono::steady_clock::time_point until,
                       const std::stop_token& stop);

 private:
  // runner_loop.cpp: the thread that decides
  void loop();
  void pass();
  void purge();
  void sleep();
  [[nodiscard]] Occupancy occupancy() const;
  /// False: the system has no thread for it now.
  bool launch(ReadyTask task);
  [[nodiscard]] bool run_at_once(Plan& plan);
  void stop_overdue();
  [[nodiscard]] std::optional<MonotonicTime> next_deadline() const;

  // run_task.cpp: the thread of one run
  struct PreparedRun;
  void run(ActiveRun& active);
  /// This and the next ones that say so: what gets the run's slot, where that was started with its end.
  [[nodiscard]] std::shared_ptr<PreparedRun> attempt(ActiveRun& active);
  /// The last thing that its thread does with it. `handed_over`: its slot has the next run.
  void retire(ActiveRun& active, bool handed_over = false);
  [[nodiscard]] bool may_start(const Task& task, const TaskWorker& worker, const std::stop_token& stop);
  /// Until something appears on this device that the worker can't do without.
  [[nodiscard]] Result<void> wait_for_worker(const TaskSpec& task, const TaskWorker& worker,
                                             const std::string& missing);
  [[nodiscard]] DurationMilliseconds ask_again_after(const std::string& task_id);
  [[nodiscard]] std::shared_ptr<PreparedRun> execute(ActiveRun& active, const StartedRun& started,
                                                     const TaskWorker& worker);
  enum class Slot : std::uint8_t { hand_over, leave_free };
  std::shared_ptr<PreparedRun> record_end(ActiveRun& active, const StartedRun& started,
                                          const RunOutcome& outcome, Slot slot);

  /// Nothing: it can't start now, which was seen to.
  [[nodiscard]] std::optional<StartedRun> commit_start(const std::string& id, bool outside);
  void show_live(ActiveRun& active, std::shared_ptr<LiveRun> live, DurationMilliseconds timeout);
  [[nodiscard]] bool is_stopping() const;
  struct Spools {
    std::unique_ptr<Spool> standard_output;
    std::unique_ptr<Spool> standard_error;
  };
  /// With `files` all that a run needs on disk: without room for it nothing is started.
  [[nodiscard]] Result<Spools> make_spools(const Task& task, bool files);
  void remove_files(const ActiveRun& active);
  /// From its committed start to its committed end.
  [[nodiscard]] std::shared_ptr<PreparedRun> run_started(ActiveRun& active, const StartedRun& started,
                                                         const TaskWorker& worker, Spools spools);

  // prepared_runs.cpp: runs whose start is committed with something else
  struct PreparedTicket;
  /// What Ledger::start_arrivals asks.
  [[nodiscard]] std::optional<Admission> take_arrival(const Task& task);
  /// What Ledger::end asks; the run that `next` is then has this one's slot and thread.
  [[nodiscard]] std::optional<Admission> take_next(const Task& task, const ActiveRun& ending,
                                                   std::shared_ptr<PreparedRun>& next);
  /// Of a task whose run is over at once; nothing: it is not, or something keeps it from starting.
  [[nodiscard]] std::optional<RunOutcome> compute(const Task& task) const;
  [[nodiscard]] std::shared_ptr<PreparedRun> prepare(const Task& task, const ActiveRun* ending);
  [[nodiscard]] bool make_ready(PreparedRun& run, const Task& task, bool has_room);
  /// Of one that is not begun.
  void withdraw(PreparedRun& run);
  /// It and those that get its slot after it.
  void run_prepared(std::shared_ptr<PreparedRun> run);
  static void begin_prepared(const StartedRun& run, const Readiness& readiness);

  // outliving_runs.cpp: runs outside the agent's service
  void attempt_outside(ActiveRun& active, const Task& task, const TaskWorker& worker);
  [[nodiscard]] Result<void> launch_outside(OutlivingFolder prepared, const OutlivingFolder& place,
                                            const StartedRun& started, DurationMilliseconds timeout,
                                            const std::stop_token& leave);
  void follow_outside(ActiveRun& active, const StartedRun& started, const Result<void>& launched);
  /// How it ended; nothing where it goes on and we stop.
  [[nodiscard]] std::optional<RunOutcome> await_outside(ActiveRun& active, const StartedRun& started,
                                                        const Result<void>& launched);
  /// Nothing: it can't be told at this moment.
  [[nodiscard]] std::optional<RunOutcome> outcome_outside(const ActiveRun& active, const StartedRun& started,
                                                          OutlivingStage stage, const Result<void>& launched);
  /// Shows its output as soon as that can be opened. False: there is some, and it can't be opened now.
  bool show_outside(ActiveRun& active, std::int64_t number);
  /// How far its recorder was asked to stop it.
  struct OutsideStop {
    std::optional<std::chrono::steady_clock::time_point> since = {};  ///< of the first try
    bool told = false;
    bool forced = false;
  };
  void stop_outside(ActiveRun& active, const StartedRun& started, OutsideStop& stop);
  [[nodiscard]] static std::string describe_outside(const std::string& run_id);
  /// Follows a run on that was begun by an earlier start of the agent. False: it is over and has no end.
  [[nodiscard]] Result<bool> adopt(const OpenRun& run);
  void remove_strays();
  [[nodiscard]] std::vector<std::filesystem::path> folders_of_nobody() const;
  void stop_stray(const OutlivingFolder& folder);
  void await_strays(std::vector<OutlivingFolder> live);

  // recovery.cpp
  Result<void> adopt_all(std::vector<OpenRun>& runs);
  Result<void> stop_checks();
  void stop_unknown();
  Result<void> end_interrupted(const OpenRun& run, const std::vector<os::ProcessInfo>& survivors);

  Result<void> make_spool_folder();
  void on_change(const LedgerChange& change);
  void announce_change();
  /// The ledger refused: nothing starts until it is tried again, a little later each time.
  void note_problem(const Error& error);
  void clear_problem();
  /// Nothing starts for a while, for a reason that is not the ledger's.
  void block(std::string_view reason, std::string detail);
  /// The same with the lock held; the next try is a little later each time.
  void note_shortage(std::string detail);
  /// Room for the ends of runs; no error where none is wanted.
  [[nodiscard]] Result<void> take_reserve();
  /// Records an end; on a full disk once more with the room that is kept for it, and then without the output.
  /// `next`: as Ledger::end asks it, at the first attempt alone.
  [[nodiscard]] Result<Task> end_run(std::string_view id, std::int64_t number, const RunOutcome& outcome,
                                     const std::function<ChunkSource()>& output,
                                     const Ledger::Ready& next = {});
  /// Records an end alone: its result says how much output was dropped.
  [[nodiscard]] Result<Task> end_without_output(std::string_view id, std::int64_t number, RunOutcome outcome,
                                                const ChunkSource& output);
  [[nodiscard]] std::filesystem::path spool_file(std::string_view task_id, OutputStream stream) const;
  /// Where a run's processes are noted down, beside its output.
  [[nodiscard]] std::filesystem::path process_record(std::string_view task_id) const;
  [[nodiscard]] std::filesystem::path process_record(const OpenRun& run) const;
  void remove_spool(std::string_view task_id);

  Ledger& ledger_;
  const WorkerRegistry& workers_;
  const Policy& policy_;
  os::ProcessSupervisor& supervisor_;
  const Clock& clock_;
  Logger& log_;
  const RunnerOptions options_;
  Scheduler scheduler_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;     ///< the loop sleeps on it
  std::condition_variable changed_;  ///< runs ended, or the runner stops
  std::map<std::string, std::shared_ptr<ActiveRun>, std::less<>> active_;
  std::map<std::string, std::size_t> refused_checks_;  ///< how often each worker said no to a task
  unsigned slots_;
  std::chrono::milliseconds drain_;
  bool look_ = true;
  std::uint64_t work_ = 0;  ///< how often the ledger said that something may be due
  bool timers_changed_ = false;
  MonotonicTime sleeps_until_ = MonotonicTime::max();  ///< the loop, for deadlines
  bool stopping_ = false;
  std::stop_source leaving_;  ///< asked when `stopping_` begins
  bool ended_ = false;
  std::atomic<bool> recovered_ = false;
  std::atomic<bool> spool_made_ = false;
  std::optional<UnixMilliseconds> look_again_;
  std::optional<DurationMilliseconds> look_again_since_boot_;
  std::string ledger_problem_;
  std::string_view blocked_;  ///< one of `reason`, with static lifetime
  std::string blocked_detail_;
  std::optional<MonotonicTime> retry_at_;  ///< when what blocks is tried again
  Backoff retry_backoff_;
  std::optional<MonotonicTime> purge_at_;  ///< of the loop alone
  os::ReservedRoom reserve_;

  mutable std::mutex follow_mutex_;
  std::condition_variable_any followed_;
  std::uint64_t changes_ = 0;

  RunThreads threads_;
  std::jthread loop_;
  std::shared_ptr<void> subscription_;  ///< last, so that it ends first
};

}  // namespace agenttask::agent
