#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/protocol/message.hpp"
#include "server/store/report_troubles.hpp"
#include "server/store/store.hpp"

namespace agenttask::server {

/// Applies the reports of one batch, one after another, inside a transaction. What can't be applied is
/// counted and passed: only a failure of the storage stops a stream. Inside server/store only.
class ReportApplier {
 public:
  /// `node` is changed as the reports say; storing it is the caller's.
  ReportApplier(WriteStore& store, NodeRecord& node, UnixMilliseconds now, const HistoryLimits& limits)
      : store_(store), node_(node), now_(now), limits_(limits) {}

  /// `line`: the bytes that the report was read from.
  void apply(const Report& report, const std::string& line);
  [[nodiscard]] const ReportTroubles& troubles() const { return troubles_; }

 private:
  void take(const StartedReport& report);
  void take(const OutputReport& report);
  void take(const EndedReport& report);
  void take(const ChosenReport& report);
  void take(const MessageReport& report);
  void take(const ChangedReport& report);
  void take(const CreatedReport& report);
  void take(const SnapshotEndReport&);
  void take(const RefusedReport& report);
  void take(const UnknownMessage& report);

  /// Whether as much as this line may be kept of tasks that were made on the device, `more_tasks` of them
  /// new.
  [[nodiscard]] bool has_room(const std::string& task_id, std::int64_t more_tasks);
  /// Whether what the line says of the task may be kept besides its state.
  [[nodiscard]] bool may_grow(const TaskRecord& record);
  /// The task, if it is one of this node; else the report is dealt with here.
  [[nodiscard]] std::optional<TaskRecord> find(const std::string& task_id, std::string_view kind);
  void keep_orphan(const std::string& task_id, std::string_view kind);
  /// A report about a task proves that the device holds it, before the cursor of its next poll says so.
  void imply_sent(TaskState& state) const;
  /// Takes over what the device says of a task's state. `status` was checked by the caller.
  void adopt(TaskRecord& record, const TaskState& reported);
  /// What an update may change; the rest is the server's since the task was made.
  void adopt_spec(TaskRecord& record, const TaskSpec& reported);
  /// The one thing that changes after the end.
  void take_deletion(TaskRecord& record, const TaskState& reported);
  /// Whether an end that the server has may give way: only one that it decided alone or that a snapshot
  /// corrects, and only after the pasts of both were found to differ. What another ledger has reported stands
  /// against an older one.
  [[nodiscard]] bool end_may_change(const TaskRecord& record) const;
  /// The device says what the server has already: from now on it is known to both.
  void confirm(TaskRecord& record);
  /// Of a run whose start it did not hear, the server does not know under which limit it began.
  void put_run(const Run& run, const TaskSpec& spec);
  void put_runs(const TaskRecord& record, const std::vector<Run>& runs);
  /// Housekeeping keeps runs within their number; it is not to be outrun. `added`: by this report.
  /// True: it removed some.
  bool trim(const TaskRecord& record, std::size_t added);
  void insert(const CreatedReport& report);
  void end_elsewhere(TaskRecord& record);
  /// Whether the end that the server has gives way to what a snapshot says.
  [[nodiscard]] bool snapshot_corrects(const TaskRecord& record, const TaskState& reported) const;
  /// Answers that the device has taken or refused, and what it said about them was lost with the epoch
  /// before: the snapshot has told what holds.
  void settle_lost_answers();
  /// Whether a snapshot that has the task shows that the device does not know, or knows, of a cancel.
  void settle_cancel(TaskRecord& record, const TaskState& reported) const;
  /// Of what the device took already nobody knows any more.
  [[nodiscard]] bool is_about_a_cancel(const RefusedReport& report) const;
  [[nodiscard]] bool is_on_its_way(DirectiveKind kind, const std::string& task_id) const;

  void ignore(const std::string& task_id) { troubles_.count(ReportTrouble::contradiction, task_id); }
  [[nodiscard]] std::int64_t line_bytes() const { return static_cast<std::int64_t>(line_->size()); }

  WriteStore& store_;
  NodeRecord& node_;
  UnixMilliseconds now_;
  HistoryLimits limits_;
  const std::string* line_ = nullptr;
  /// The task whose start was the last report, as it is stored: its end mostly follows.
  std::optional<TaskRecord> started_;
  ReportTroubles troubles_;
};

}  // namespace agenttask::server
