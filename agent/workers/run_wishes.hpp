#pragma once
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ledger/ledger_types.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {

/// Where a run reads the tasks and messages of this device. Threads: as its implementation says.
class TaskReader {
 public:
  virtual ~TaskReader() = default;
  /// `not_found` for an unknown id.
  [[nodiscard]] virtual Result<Task> get(std::string_view id) = 0;
  [[nodiscard]] virtual Result<TaskPage> list(const TaskFilter& filter, std::optional<std::int64_t> cursor,
                                              std::size_t most) = 0;
  /// The newest of a room (empty: of all rooms), oldest first.
  [[nodiscard]] virtual Result<std::vector<RoomMessage>> messages(std::string_view room_id,
                                                                  std::size_t most) = 0;
};

/// What one run asks for, kept until its end: the ledger applies it together with a successful result, or
/// never. The run sees its own wishes laid over what the device has.
///
/// Each wish is checked when it is asked, as the same request of a person would be. Bounds: 1000 wishes and
/// 8 MiB of them (`limit`). Nothing else is kept: of a task that the device has only what a wish changes,
/// however large the task is. Threads: one at a time.
class RunWishes {
 public:
  static constexpr std::size_t kMost = 1000;
  static constexpr std::size_t kMostBytes = 8 * 1024 * 1024;
  /// What a wish counts beside the texts that it brings.
  static constexpr std::size_t kOverhead = 1024;
  /// A list ends past this, by the texts of its tasks.
  static constexpr std::size_t kListBytes = 4 * 1024 * 1024;

  /// All that it is given outlives it. `own` is the task that runs.
  RunWishes(TaskReader& reader, const Task& own, std::int64_t run, const Clock& clock);

  /// A new task; an empty id is made here. `conflict` when the id is taken.
  [[nodiscard]] Result<Task> create(TaskSpec spec);
  /// `changes` is JSON text, as in PATCH. `conflict` when the task has ended.
  [[nodiscard]] Result<Task> update(std::string_view id, std::string_view changes);
  /// Cancels it where it has not ended, and marks it deleted. The run's own task ends with the run.
  [[nodiscard]] Result<Task> remove(std::string_view id);
  [[nodiscard]] Result<Task> get(std::string_view id);
  /// Newest first, at most `most`, and no more than kListBytes.
  [[nodiscard]] Result<std::vector<Task>> list(const TaskFilter& filter, std::size_t most);
  /// `content` is JSON text of an object. Empty room and world: those of the run's task.
  [[nodiscard]] Result<RoomMessage> post(std::string room_id, std::string world_id, std::string_view content);
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view room_id, std::size_t most);

  /// All of them in order, for the end of the run.
  [[nodiscard]] std::vector<Wish> take();

 private:
  /// What is different for this run of a task that the device has: laid over it whenever it is read.
  struct Changed {
    std::string type;  ///< with room and world: what a list goes by and nothing changes
    std::string room_id;
    std::string world_id;
    std::optional<UnixMilliseconds> sent_time;  ///< where it stands in a list
    TaskChanges changes;                        ///< of all updates together
    UnixMilliseconds updated_at = 0;
    std::optional<UnixMilliseconds> rescheduled_at;
    std::optional<UnixMilliseconds> deleted_at;
  };
  using ChangedTasks = std::map<std::string, Changed, std::less<>>;

  [[nodiscard]] Result<void> make_room(std::size_t bytes);
  [[nodiscard]] bool is_own(const Task& task) const { return task.spec.id == own_.spec.id; }
  /// The task as the run sees it, whether it is the device's or the run's own.
  void lay_over(Task& task, const Changed& changed) const;
  [[nodiscard]] Changed& change(const Task& task);
  void mark_deleted(Task& task, UnixMilliseconds now) const;
  /// Those that may match now and not before, the newest first.
  [[nodiscard]] std::vector<const ChangedTasks::value_type*> changed_in(const TaskFilter& filter) const;

  TaskReader& reader_;
  const Task& own_;
  const std::int64_t run_;
  const Clock& clock_;
  std::vector<Wish> wishes_;
  std::vector<std::string> created_order_;            ///< ids
  std::map<std::string, Task, std::less<>> created_;  ///< as they stand for this run
  ChangedTasks changed_;
  std::vector<RoomMessage> posted_;
  std::size_t bytes_ = 0;
};

}  // namespace agenttask::agent
