#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "server/store/store.hpp"

namespace agenttask::server {

/// The one thread that writes. It takes all jobs that wait, runs each in a savepoint of one transaction,
/// commits once, and then tells each how it went: one fsync for all, so that throughput grows with load.
///
/// Threads: submit and run from any but its own. Crash: what `done` was told is committed survives power
/// loss; of what was not told, nothing is promised.
class Writer {
 public:
  struct Job {
    /// On the writer's thread, inside the transaction. False: undo what this job did; the others stand. It
    /// must not block.
    std::function<bool(WriteStore&)> run;
    /// On the writer's thread, after the commit: success also where `run` said false. An error (`io`,
    /// `unavailable`) when the group could not be committed: then nothing was done. Must be short. Called
    /// exactly once for an accepted job.
    std::function<void(const Result<void>&)> done;
  };
  struct Settings {
    std::size_t queue_limit = 4096;  ///< jobs that wait; the next is `unavailable`
    std::size_t group_limit = 512;   ///< jobs in one commit
  };
  /// Gets the touched keys after each commit, before the jobs are answered. On the writer's thread.
  using Touched = std::function<void(const std::vector<std::string>& keys)>;

  /// `joined`: gets the keys that a group has touched before it is committed. What is submitted then, and
  /// what else came meanwhile, goes into the same commit: whoever waits for one of the keys to write
  /// something needs no commit of its own. May be empty.
  Writer(std::unique_ptr<WriteSession> session, Touched touched, Logger& logger, Settings settings,
         Touched joined = {});
  Writer(std::unique_ptr<WriteSession> session, Touched touched, Logger& logger)
      : Writer(std::move(session), std::move(touched), logger, Settings{}) {}
  ~Writer();  ///< stop()
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// Queues a job. `unavailable`, and `done` is not called, when the queue is full or the writer has stopped.
  [[nodiscard]] Result<void> submit(Job job);
  /// Queues a job and waits for its commit; what the job returns. For administration and tests, never on an
  /// event loop.
  [[nodiscard]] Result<void> run(const std::function<Result<void>(WriteStore&)>& job);
  /// Takes no more jobs, finishes those that wait, ends the thread. May be called again.
  void stop();
  /// Whether the last commit went well: what /readyz tells.
  [[nodiscard]] bool healthy() const;

 private:
  void work();
  /// Moves what waits to the end of the group.
  void take_waiting(std::vector<Job>& group);
  void commit_group(std::vector<Job>& group);
  Result<void> run_job(Job& job);

  std::unique_ptr<WriteSession> session_;
  Touched touched_;
  Touched joined_;
  Logger& logger_;
  Settings settings_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Job> queue_;
  bool stopping_ = false;
  bool healthy_ = true;
  std::thread thread_;
};

}  // namespace agenttask::server
