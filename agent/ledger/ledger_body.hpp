#pragma once
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/ledger/commit_points.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/ledger/ledger_file.hpp"
#include "agent/ledger/ledger_write.hpp"
#include "agent/ledger/write_queue.hpp"
#include "platform/base/ids.hpp"
#include "platform/storage/database.hpp"

namespace agenttask::agent {

/// One subscriber. `calls` counts the calls under way, so that unsubscribing can wait for them.
struct LedgerSubscription {
  Ledger::Listener listener;
  std::mutex mutex;
  std::condition_variable idle;
  int calls = 0;
  bool active = true;
};

/// The connection behind its lock, and whoever wants to know of changes.
class Ledger::Body {
 public:
  Body(std::filesystem::path file, const Clock& clock, LedgerOptions options);

  /// Runs `action(LedgerWrite&)`, which returns a Result, as one transaction or as a part of one with those
  /// of other threads, that stands or falls alone; tells of its change afterwards. It may run on another
  /// thread, while this one waits. `point` is its name; an action that does more adds others
  /// (storage::Database::commits).
  template <class Action>
  auto write(CommitPoint point, Action action) -> decltype(action(std::declval<LedgerWrite&>())) {
    std::optional<decltype(action(std::declval<LedgerWrite&>()))> answer;
    QueuedWrite write{.point = point, .apply = [&](LedgerWrite& how) {
                        answer.emplace(action(how));
                        return answer->has_value();
                      }};
    pass(write);
    if (!write.stored) return write.stored.error();
    return *std::move(answer);
  }

  /// Runs `action(Database&)`, which returns a Result, in one consistent view.
  template <class Action>
  auto read(Action action) -> decltype(action(std::declval<storage::Database&>())) {
    LedgerChange change;
    auto result = [&]() -> decltype(action(std::declval<storage::Database&>())) {
      const std::scoped_lock lock(mutex_);
      if (!database_) return closed_because_;
      storage::Transaction transaction(*database_, storage::Transaction::Kind::read);
      auto answer = action(*database_);
      if (auto committed = transaction.commit(); !committed) {
        change.health = note_problem(committed.error());
        return committed.error();
      }
      return answer;
    }();
    if (change.health) announce(change);
    return result;
  }

  [[nodiscard]] std::optional<LedgerProblem> problem() const;
  Result<void> try_again();
  void release_memory();

  Result<Cancelled> cancel(std::string_view id, bool deleted);
  /// One of pause, resume, run_now.
  Result<Task> change_task(CommitPoint point, std::string_view id,
                           const std::function<Result<void>(LedgerWrite&, TaskRow&)>& action);
  /// Records how a run ended, of a task that runs.
  void end_run(LedgerWrite& write, TaskRow& row, std::int64_t number, const RunOutcome& outcome,
               const ChunkSource& output);
  /// Records a run that starts and ends here, of a task that may start.
  void pass_run(LedgerWrite& write, TaskRow& row, const RunOutcome& outcome);
  std::shared_ptr<LedgerSubscription> subscribe(Listener listener);
  [[nodiscard]] const LedgerOptions& options() const { return options_; }
  [[nodiscard]] const Clock& clock() const { return clock_; }
  [[nodiscard]] const std::string& incarnation() const { return incarnation_; }
  /// Whether the server knows this incarnation already, as far as this process remembers.
  [[nodiscard]] std::atomic<bool>& incarnation_known() { return incarnation_known_; }
  /// By how much somebody set the wall clock since the last call; 0: not worth noting. Call it within read()
  /// or write().
  [[nodiscard]] DurationMilliseconds wall_change();
  /// Notes a sleep of the machine that has ended since the last call.
  void note_sleep();
  /// Whether nobody has looked at what is due since the agent's start, or since a sleep.
  [[nodiscard]] std::atomic<bool>& just_awoke() { return just_awoke_; }
  void set_ready(Ledger::Ready ready) {
    const std::scoped_lock lock(mutex_);
    ready_ = std::move(ready);
  }
  void start_arrived(LedgerWrite& write, const std::vector<std::string>& arrived);
  /// Whether one of those that wait was started.
  bool start_next(LedgerWrite& write, const Ledger::Ready& next);
  [[nodiscard]] double fraction() const {
    return options_.fraction ? options_.fraction() : random_fraction();
  }

 private:
  [[nodiscard]] static Error unwritable(const Error& error) {
    return with_context(error, "the ledger can't be written");
  }
  /// Has it carried out, and tells of its change.
  void pass(QueuedWrite& write);
  void carry_out(std::span<QueuedWrite* const> writes);
  [[nodiscard]] std::vector<QueuedWrite*> apply_together(storage::Transaction& transaction,
                                                         std::span<QueuedWrite* const> writes);
  /// Whether something of it is to be committed.
  [[nodiscard]] bool apply(QueuedWrite& write);
  void note_stored(QueuedWrite& write, const Result<void>& stored);
  void announce(const LedgerChange& change);
  Result<void> open_file();
  Result<void> begin();
  Result<void> probe();
  /// Whether that is news. Faults of ours and of callers are none of the disk's.
  bool note_problem(const Error& error);
  bool clear_problem();

  const std::filesystem::path file_;
  WriteQueue queue_;
  std::mutex mutex_;
  std::optional<os::FileLock> file_lock_;      ///< as long as the file is open
  std::optional<storage::Database> database_;  ///< none: it can't be opened
  Error closed_because_;
  mutable std::mutex problem_mutex_;  ///< apart, so that nobody who asks waits for a slow disk
  std::optional<LedgerProblem> problem_;
  const Clock& clock_;
  LedgerOptions options_;
  Ledger::Ready ready_;
  std::string incarnation_;
  DurationMilliseconds wall_ahead_;  ///< of the time since boot, when last looked at
  DurationMilliseconds slept_;       ///< since boot, and some constant; when last looked at
  std::atomic<DurationMilliseconds> awake_since_;
  std::atomic<bool> just_awoke_ = true;
  std::atomic<bool> incarnation_known_ = false;
  std::mutex subscriptions_mutex_;
  std::vector<std::weak_ptr<LedgerSubscription>> subscriptions_;
};

/// Pauses, resumes, or lets run now a task that has not ended, and reports it.
[[nodiscard]] Result<void> change_row(LedgerWrite& write, TaskRow& row,
                                      const std::function<Result<void>(LedgerWrite&, TaskRow&)>& action);

/// The usual refusal of an id.
[[nodiscard]] inline Error unknown_task(std::string_view id) {
  return Error{ErrorCode::not_found, "there is no task " + std::string(id) + " on this device", "id"};
}

}  // namespace agenttask::agent
