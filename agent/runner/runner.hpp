#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ledger/ledger.hpp"
#include "agent/policy/policy.hpp"
#include "agent/runner/follower.hpp"
#include "agent/workers/task_worker.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"

namespace agenttask::os {
class ProcessSupervisor;
}

namespace agenttask::agent {

struct RunnerOptions {
  unsigned slots = 8;                  ///< runs at once
  std::filesystem::path spool_folder;  ///< where output is kept while a run lasts; made if missing
  /// How long stop() lets runs end by themselves before it stops them; see set_drain().
  std::chrono::milliseconds drain{0};
  /// Between the polite stop of what a crash left and its kill.
  std::chrono::milliseconds grace{5000};
  /// Holds room on the disk of the ledger, which the ends of runs get when there is no other; while it can't
  /// be held nothing starts. Empty: none is held.
  std::filesystem::path reserve_file;
  std::int64_t reserve_bytes = 16LL * 1024 * 1024;
};

/// Why a task is where it is, for `agenttask explain`.
struct Explanation {
  Task task;
  std::string reason;    ///< one of `reason`, as it is this moment; empty when nothing keeps it from running
  std::string detail;    ///< for people
  bool outside = false;  ///< it runs, outside the agent's service: it goes on while that is away
};

struct RunnerStatus {
  unsigned slots = 0;
  std::vector<std::string> running;  ///< ids of tasks that run now
  std::string ledger_problem;        ///< why no work is started: the ledger can't be written; empty: it can
};

/// Runs what is due: asks the scheduler, starts each task on a thread of its own up to the number of slots,
/// stops runs at their timeout and on cancel, and records their ends.
///
/// Threads: all methods may be called from any thread. One thread decides, and sleeps until the next thing is
/// due or somebody wakes it (changes of the ledger do). Crash: a run's start is on disk before its work
/// begins; recover() ends what a crash left.
class Runner {
 public:
  /// All that it is given outlives it.
  Runner(Ledger& ledger, const WorkerRegistry& workers, const Policy& policy,
         os::ProcessSupervisor& supervisor, const Clock& clock, Logger& log, RunnerOptions options);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Follows runs on that are outside the agent's service, or records how they ended meanwhile. Ends those
  /// that a crash or reboot cut off: stops what is left of their processes, keeps the output so far, and
  /// records them as interrupted. Call once, before start().
  [[nodiscard]] Result<void> recover();
  /// Begins to run tasks.
  [[nodiscard]] Result<void> start();
  /// Looks again now.
  void wake();
  /// Another number of slots, from now on; runs under way go on.
  void set_slots(unsigned slots);
  /// Another time for stop(), from now on; zero ends one that is under way.
  void set_drain(std::chrono::milliseconds drain);
  /// Asks the run of a task to stop, as a cancel does. False: it does not run.
  bool stop_run(std::string_view task_id);
  /// Starts nothing new; lets runs end for `drain`, then stops them politely (they end as interrupted, their
  /// output kept), and returns when all have ended. Runs outside the agent's service are left alone at once:
  /// the next start follows them on. Safe to call twice.
  void stop();

  [[nodiscard]] Result<Explanation> explain(std::string_view task_id);
  [[nodiscard]] RunnerStatus status() const;
  /// `not_found` for an unknown task. A follower may outlive a run, not the runner.
  [[nodiscard]] Result<std::unique_ptr<Follower>> follow(std::string_view task_id);
  /// `after`: a run number; it and those before it are left out.
  [[nodiscard]] Result<std::unique_ptr<Follower>> follow(std::string_view task_id, Pace pace,
                                                         std::int64_t after = 0);

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace agenttask::agent
