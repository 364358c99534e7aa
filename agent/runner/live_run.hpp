#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ledger/ledger_types.hpp"
#include "agent/runner/spool.hpp"
#include "agent/workers/task_worker.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

/// The output of one run while somebody may look at it: written by the run, read by any number of followers,
/// each at its own place. Lives until the last follower has let go of it. Threads: any.
class LiveRun {
 public:
  LiveRun(std::int64_t number, std::unique_ptr<Spool> standard_output, std::unique_ptr<Spool> standard_error);

  /// How far a follower has read.
  struct Place {
    std::int64_t standard_output = 0;
    std::int64_t standard_error = 0;
    std::uint64_t change = 0;
  };

  [[nodiscard]] std::int64_t number() const { return number_; }
  void write(OutputStream stream, std::string_view bytes);
  /// Of a run whose output another process writes: looks for more. False: there is none.
  bool refresh();
  [[nodiscard]] RunContext::OutputCount count(OutputStream stream) const;
  /// The run has ended, and its end is on disk.
  void end();
  [[nodiscard]] bool ended() const;

  /// What came since `place`, which moves on. Characters that are not complete yet wait for their rest.
  [[nodiscard]] std::vector<OutputChunk> read(Place& place, std::size_t most);
  /// Waits until there is more than `place` has seen, or the run has ended; false when it was not so in time.
  bool wait(const Place& place, std::chrono::steady_clock::time_point until, const std::stop_token& stop);

  /// From now on write() waits a little when `place` lags behind, so that who reads there promptly misses
  /// nothing: until it has caught up, at most 2 s without any progress of it and 20 s in the whole run. Until
  /// wait_no_more().
  void wait_for(const Place& place);
  void wait_no_more(const Place& place);

  /// What is kept of both streams, for the ledger. Must not outlive this.
  [[nodiscard]] ChunkSource kept();

 private:
  [[nodiscard]] Spool& spool(OutputStream stream) const;
  /// How far the slowest of those that are waited for is behind.
  [[nodiscard]] std::int64_t lag(OutputStream stream) const;
  void hold_back(std::unique_lock<std::mutex>& lock, OutputStream stream);

  const std::int64_t number_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::unique_ptr<Spool> standard_output_;
  std::unique_ptr<Spool> standard_error_;
  std::uint64_t changes_ = 0;
  bool ended_ = false;
  std::vector<const Place*> waited_for_;
  std::condition_variable caught_up_;
  std::chrono::steady_clock::duration patience_ = std::chrono::seconds(20);  ///< what is left of it
};

/// Reads what is kept of two spools, piece by piece, cut between characters of UTF-8. They must outlive the
/// source.
[[nodiscard]] ChunkSource kept_output_of(Spool* standard_output, Spool* standard_error);

}  // namespace agenttask::agent
