#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/protocol/task.hpp"
#include "platform/storage/database.hpp"

/// Tasks and runs as rows of the ledger. Failures stay with the database (see platform/storage).
namespace agenttask::agent {

/// Where a task that has not ended waits; see schema.cpp.
enum class Queue : std::int8_t {
  none = -1,
  timed = 0,
  ready = 1,
  no_worker = 2,
  key_held = 3,
  delayed = 4,
  resting = 5,
  choice = 6,
};

struct TaskRow {
  std::int64_t sequence = 0;  ///< order of arrival; 0: not stored yet
  Task task;                  ///< without `data`
  Queue queue = Queue::none;
  UnixMilliseconds ready_at = 0;  ///< since when it has waited in its queue
  /// The end of a wait that is a duration, on the clock since boot; counts where `queue` is `delayed`.
  DurationMilliseconds delay_until = 0;
  std::int64_t reruns = 0;    ///< runs after interruptions, which count as no attempt
  std::int64_t reported = 0;  ///< the last report about it in this epoch

  // Of a task with a schedule or a question; see schema.cpp.
  std::optional<UnixMilliseconds> first_due;
  std::optional<DurationMilliseconds> grid_due;
  UnixMilliseconds grid_at = 0;
  std::int64_t last_occurrence = 0;
  std::int64_t waiting = 0;
  std::int64_t base_runs = 0;
  std::optional<UnixMilliseconds> choice_due;

  [[nodiscard]] bool recurs() const { return task.spec.schedule.recurs(); }
  /// Whether an occurrence of it, or the task itself, was due and has not ended.
  [[nodiscard]] bool is_active() const {
    return task.state.status == TaskStatus::running ||
           (queue != Queue::none && queue != Queue::timed && queue != Queue::resting);
  }
  /// Whether the present occurrence, or the task itself, was started before.
  [[nodiscard]] bool has_run() const { return task.state.run_count > base_runs; }
};

[[nodiscard]] std::optional<TaskRow> load_task(storage::Database& database, std::string_view id);
/// The rows that `condition` (SQL after the list of columns, from WHERE on) gives.
[[nodiscard]] std::vector<TaskRow> load_tasks(storage::Database& database, std::string_view condition,
                                              std::initializer_list<storage::Value> values);
[[nodiscard]] std::string load_data(storage::Database& database, std::int64_t sequence);
[[nodiscard]] std::string load_digest(storage::Database& database, std::int64_t sequence);
/// What is remembered of a task that was removed; an empty digest where it was cancelled before it came.
struct RememberedTask {
  std::string digest;
  TaskState state;  ///< only how it ended, and when
};
[[nodiscard]] std::optional<RememberedTask> load_remembered(storage::Database& database, std::string_view id);
/// Stores a new row with its `data`; fills in `sequence`.
void insert_task(storage::Database& database, TaskRow& row, std::string_view digest);
/// Stores all of a row that may change.
void save_task(storage::Database& database, const TaskRow& row);

/// Messages with their sequence; `condition` as above.
[[nodiscard]] std::vector<std::pair<std::int64_t, RoomMessage>> load_messages(
    storage::Database& database, std::string_view condition, std::initializer_list<storage::Value> values);

[[nodiscard]] std::vector<Run> load_runs(storage::Database& database, const TaskRow& row);
[[nodiscard]] std::optional<Run> load_run(storage::Database& database, const TaskRow& row,
                                          std::int64_t number);

}  // namespace agenttask::agent
