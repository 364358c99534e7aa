#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "agent/ledger/ledger_types.hpp"
#include "agent/ledger/task_rows.hpp"
#include "platform/base/clock.hpp"
#include "platform/protocol/message.hpp"
#include "platform/storage/database.hpp"

namespace agenttask::agent {

/// The one row of `stream`: both cursors, the outbox's size, the hold.
struct StreamRow {
  std::string node_id;
  HeldBy held_by = HeldBy::nobody;
  std::int64_t epoch = 0;
  Cursor directives;
  Cursor reports;
  Cursor acknowledged;
  std::int64_t outbox_reports = 0;
  std::int64_t outbox_bytes = 0;
  std::string last_created;
  std::int64_t output_bytes = 0;  ///< kept output of all tasks
  bool alone = false;             ///< it left its server, and has no other yet
  bool incomplete = false;        ///< see PollCursors
  [[nodiscard]] bool hold() const { return held_by != HeldBy::nobody; }
};
/// What makes two requests the same: all but ids and the node's name.
[[nodiscard]] std::string request_digest_of(TaskSpec spec);

/// Says in a result (JSON text) that so many bytes of the output were dropped for the outbox's budget.
[[nodiscard]] std::string with_dropped(const std::string& result, std::int64_t dropped);

/// Why the server wants nothing started; empty: it does not.
[[nodiscard]] std::string load_quarantine(storage::Database& database);
[[nodiscard]] StreamRow load_stream(storage::Database& database);

/// What one writing transaction of the ledger works with: the steps that several methods share. Lives as long
/// as the transaction; failures stay with the database.
class LedgerWrite {
 public:
  LedgerWrite(storage::Database& database, const Clock& clock, DurationMilliseconds awake_since,
              std::int64_t outbox_budget);

  storage::Database& database;
  const UnixMilliseconds now;             ///< the wall clock
  const DurationMilliseconds since_boot;  ///< for waits that are durations
  const DurationMilliseconds
      awake_since;      ///< since the boot: the agent, and the machine, were up from then on
  StreamRow stream;     ///< written back by finish()
  LedgerChange change;  ///< told after the commit

  /// Puts a report into the outbox; before the first epoch nothing, as the snapshot will tell it all. Nothing
  /// about a task of a node that this device was: its server is another.
  void report(Report report, TaskRow* about = nullptr);
  /// Whether a server gave it to this device while it was another node. It stays visible here.
  [[nodiscard]] bool is_former(const TaskRow& row) const { return row.task.spec.node_id != stream.node_id; }
  /// Whether kept output of this many bytes may still go into the outbox.
  [[nodiscard]] bool has_room_for_output(std::size_t bytes) const;
  [[nodiscard]] bool outbox_is_full() const { return stream.outbox_bytes >= outbox_budget_; }

  /// Puts a task off for a while, whatever happens to the wall clock meanwhile. Does not save.
  void delay(TaskRow& row, DurationMilliseconds wait) const;
  /// Saves a row and reports it as changed.
  void save_changed(TaskRow& row);
  /// As save_changed(), for what a schedule or a worker changes again and again: while the server has not
  /// heard the last word about the task, or the outbox is full, a newer one waits, and only the newest is
  /// told then (tell_untold()).
  void save_often_changed(TaskRow& row);
  /// Tells what waited for the server to hear what it has acknowledged now.
  void tell_untold();
  /// Stores a task made on this device, and reports it; `digest` is its request's.
  void insert_local(TaskRow& row, std::string_view digest);
  /// Stores a message and reports it.
  void post(const RoomMessage& message);
  /// Applies an update (JSON text, as in PATCH) to a task that has not ended, and reports it.
  Result<void> update(TaskRow& row, std::string_view changes);
  /// Ends a task that does not run, and reports that.
  void end_without_run(TaskRow& row, TaskStatus status, std::string_view reason, std::string_view detail);
  /// Cancels; with `deleted`, marks it deleted too. Returns whether it runs and has to be stopped first.
  bool cancel(TaskRow& row, bool deleted);
  /// Whether a task with this key runs.
  [[nodiscard]] bool key_is_taken(std::string_view key);
  /// A task with this key left the queue or its run ended: the next one behind the key is ready.
  void release_key(std::string_view key);
  /// Adopts an epoch of the server and fills the outbox with a snapshot of everything.
  void resync(std::int64_t epoch);
  /// Removes a task with all that is kept of it.
  void erase(const TaskRow& row);
  /// Removes the oldest kept output that the server has, until no more than `budget` bytes are left.
  void trim_output(std::int64_t budget);
  /// Removes the oldest runs of a task that the server has, all but `keep`.
  void trim_runs(const TaskRow& row, std::int64_t keep);
  /// Whether a task of this id was here and is remembered.
  [[nodiscard]] bool remembers(std::string_view id);
  /// Reports the end of a task of which only the id is remembered.
  void report_remembered(std::string_view id);
  /// The report that tells everything about a task; runs' results are left out, oldest first, where it grew
  /// too long.
  [[nodiscard]] Report created_report(const TaskRow& row, bool snapshot);
  /// Runs by task's sequence and number, and how much was kept of their output.
  using LeftOut = std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t>;
  /// Whose output finds no room in a snapshot: the oldest. It stays readable on the device.
  [[nodiscard]] LeftOut output_without_room();
  void report_kept_output(const TaskRow& row, const LeftOut& left_out);
  /// Reports all messages again; the server knows them by their ids.
  void report_messages();

  /// Whether a run of it may start now, as far as the task itself goes.
  [[nodiscard]] bool is_startable(const TaskRow& row);
  /// One of `reason`: held, quarantined, outbox-full; empty: nothing keeps all tasks from starting.
  [[nodiscard]] std::string_view why_nothing_starts();
  /// Starts a run of a task that is ready: the run and its report. The caller has seen to it that it may, and
  /// saves the row.
  [[nodiscard]] StartedRun begin_run(TaskRow& row, const std::string& boot_id, const std::string& incarnation,
                                     bool outside);

  void finish();

 private:
  std::int64_t outbox_budget_;
};

}  // namespace agenttask::agent
