#include <algorithm>
#include <utility>

#include "server/store/changes.hpp"
#include "server/store/commit_points.hpp"
#include "server/store/report_applier.hpp"
#include "server/store/tasks.hpp"

// Whole tasks that a device tells of: made there, or part of the snapshot that a new epoch begins with.
namespace agenttask::server {
namespace {

/// A later ledger than this one has started it, or seen its end: it must not run again.
bool has_begun_elsewhere(const TaskRecord& record, const TaskState& reported) {
  const TaskState& state = record.task.state;
  if (has_ended(state.status) && !record.decided_alone) return true;
  return state.run_count > reported.run_count;
}

}  // namespace

void ReportApplier::take(const CreatedReport& report) {
  const std::string& id = report.task.spec.id;
  auto record = store_.task(id, WithData::no);
  if (!record) return insert(report);
  if (record->task.spec.node_id != node_.id) return troubles_.count(ReportTrouble::foreign, id);
  if (!report.snapshot || !node_.snapshot) return;  // known already
  const TaskState& reported = report.task.state;
  if (!has_ended(reported.status) && has_begun_elsewhere(*record, reported)) {
    return end_elsewhere(*record);
  }
  if (has_ended(record->task.state.status)) {
    if (!snapshot_corrects(*record, reported)) return take_deletion(*record, reported);
  }
  const bool has_place = may_grow(*record);
  adopt(*record, reported);
  if (record->task.state.status == TaskStatus::pending) record->task.state.status = TaskStatus::sent;
  settle_cancel(*record, reported);
  if (!has_place) record->task.state.result.clear();  // the one that is stored stays
  adopt_spec(*record, report.task.spec);
  save_state(store_, *record, now_);
  if (has_place) put_runs(*record, report.runs);
}

void ReportApplier::settle_cancel(TaskRecord& record, const TaskState& reported) const {
  TaskState& state = record.task.state;
  if (has_ended(state.status)) return;
  if (!cancel_is_on_its_way(store_, record)) {
    state.cancel_requested_at = reported.cancel_requested_at;
  } else if (!state.cancel_requested_at) {
    state.cancel_requested_at = now_;  // the server had cancelled it alone
  }
}

void ReportApplier::end_elsewhere(TaskRecord& record) {
  const std::string id = record.task.spec.id;
  if (!has_ended(record.task.state.status)) {
    end_interrupted(store_, record,
                    "it was started, and the device's ledger was put back to a time before that", now_);
  }
  if (!store_.waiting_directives(node_.id, DirectiveKind::cancel, id).empty()) return;
  store_.append_directive({0, node_.id, DirectiveKind::cancel, id, {}, 0, {}});
  store_.touch("node:" + node_.id);
}

bool ReportApplier::snapshot_corrects(const TaskRecord& record, const TaskState& reported) const {
  if (!end_may_change(record)) return false;
  // What was given up for lost goes on, and what was cancelled without knowing that the device has it: how it
  // ends is told by the device, to which the cancel is on its way.
  if (!has_ended(reported.status)) return record.decided_alone;
  return record.task.state.status != reported.status || record.decided_alone;
}

void ReportApplier::insert(const CreatedReport& report) {
  TaskRecord record;
  record.task = report.task;
  const std::string& id = record.task.spec.id;
  if (store_.tombstone(id) || !has_room(id, 1)) return;
  record.task.spec.node_id = node_.id;
  TaskState& state = record.task.state;
  imply_sent(state);
  if (state.add_time == 0) state.add_time = now_;
  state.updated_at = now_;
  if (has_ended(state.status) && !state.end_time) state.end_time = now_;
  settle_choice(record);
  record.created_by = "device";
  record.offered = true;
  record.sequence = store_.insert_task(record);
  // Its runs count by themselves.
  std::int64_t bytes = line_bytes();
  for (const auto& run : report.runs) bytes -= static_cast<std::int64_t>(run.result.size());
  store_.add_device_bytes(id, std::max<std::int64_t>(bytes, 0));
  put_runs(record, report.runs);
  touch_task(store_, id);
}

void ReportApplier::take(const SnapshotEndReport&) {
  if (!node_.snapshot) return;
  store_.commits(commit_point::kSnapshotComplete);
  node_.snapshot = false;
  node_.ledger_lost = false;
  for (const auto& id : store_.tasks_in_doubt(node_.id)) {
    auto record = store_.task(id, WithData::no);
    if (!record || has_ended(record->task.state.status)) continue;
    end_interrupted(store_, *record,
                    "the device's ledger no longer has this task; whether it ran there is not known", now_);
  }
  settle_lost_answers();
  store_.touch("node:" + node_.id);
}

void ReportApplier::settle_lost_answers() {
  for (const auto& id : store_.tasks_with_choice_requested(node_.id)) {
    if (is_on_its_way(DirectiveKind::choose, id)) continue;
    auto record = store_.task(id, WithData::no);
    if (!record) continue;
    settle_choice(*record);
    save_state(store_, *record, now_);
  }
}

}  // namespace agenttask::server
