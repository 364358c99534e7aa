#include "server/store/report_applier.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "server/store/changes.hpp"

// What a report does to a task: its state and spec, and what becomes of reports about none.
namespace agenttask::server {
namespace {

/// Whether the question is no longer the one that the operator saw.
bool has_moved_on(const TaskRecord& record) {
  const TaskState& state = record.task.state;
  if (!state.choice_requested || !record.task.spec.schedule.recurs()) return false;
  return state.occurrence != record.choice_occurrence.value_or(state.occurrence) ||
         state.run_count > record.choice_runs.value_or(state.run_count);
}

}  // namespace

void ReportApplier::apply(const Report& report, const std::string& line) {
  line_ = &line;
  if (!std::holds_alternative<EndedReport>(report.body)) started_.reset();
  std::visit([this](const auto& body) { take(body); }, report.body);
}

bool ReportApplier::has_room(const std::string& task_id, std::int64_t more_tasks) {
  const DeviceTotals totals = store_.device_totals(node_.id);
  if (totals.tasks + more_tasks <= limits_.device.tasks &&
      totals.task_bytes + line_bytes() <= limits_.device.bytes) {
    return true;
  }
  troubles_.count(ReportTrouble::no_room, task_id);
  return false;
}

bool ReportApplier::may_grow(const TaskRecord& record) {
  return record.created_by != "device" || has_room(record.task.spec.id, 0);
}

std::optional<TaskRecord> ReportApplier::find(const std::string& task_id, std::string_view kind) {
  if (started_ && started_->task.spec.id == task_id) return std::exchange(started_, std::nullopt);
  auto record = store_.task(task_id, WithData::no);
  if (!record) {
    if (!store_.tombstone(task_id)) keep_orphan(task_id, kind);
    return std::nullopt;
  }
  if (record->task.spec.node_id != node_.id) {
    troubles_.count(ReportTrouble::foreign, task_id);
    return std::nullopt;
  }
  return record;
}

void ReportApplier::keep_orphan(const std::string& task_id, std::string_view kind) {
  troubles_.count(ReportTrouble::unknown_task, task_id);
  const DeviceTotals totals = store_.device_totals(node_.id);
  if (totals.orphans >= limits_.device.orphans ||
      totals.orphan_bytes + line_bytes() > limits_.device.orphan_bytes)
    return;
  store_.insert_orphan({node_.id, task_id, std::string(kind), *line_, now_});
}

void ReportApplier::imply_sent(TaskState& state) const {
  if (state.status != TaskStatus::pending) return;
  state.status = TaskStatus::sent;
  if (!state.sent_time) state.sent_time = now_;
}

void ReportApplier::adopt(TaskRecord& record, const TaskState& reported) {
  TaskState& state = record.task.state;
  imply_sent(state);
  const bool was_running = state.status == TaskStatus::running;
  // The end that is taken back was the server's own word.
  if (has_ended(state.status) && (record.decided_alone || !has_ended(reported.status)))
    store_.clear_result(record.task.spec.id);
  state.status = reported.status;
  state.reason = reported.reason;
  state.detail = reported.detail;
  state.paused = reported.paused;
  if (reported.start_time) state.start_time = reported.start_time;
  state.run_count = std::max(state.run_count, reported.run_count);
  state.missed_count = std::max(state.missed_count, reported.missed_count);
  state.occurrence = reported.occurrence;
  state.chosen = reported.chosen;
  state.next_run_at = reported.next_run_at;
  if (reported.deleted_at) state.deleted_at = reported.deleted_at;
  if (!reported.result.empty()) state.result = reported.result;
  state.end_time.reset();
  if (has_ended(state.status)) {
    state.end_time = reported.end_time.value_or(now_);
    state.cancel_requested_at.reset();
  }
  // Whatever run has no end by now gets none: they are not to pile up as running.
  if (was_running && state.status != TaskStatus::running)
    store_.close_runs(record.task.spec.id, INT64_MAX, now_);
  if (has_ended(state.status) || state.chosen || has_moved_on(record)) settle_choice(record);
  record.offered = true;
  record.decided_alone = false;
  record.in_doubt = false;
}

void ReportApplier::take(const ChosenReport& report) {
  auto record = find(report.task_id, "chosen");
  if (!record) return;
  TaskState& state = record->task.state;
  const TaskStatus from = state.status == TaskStatus::pending ? TaskStatus::sent : state.status;
  const auto& chosen = report.state.chosen;
  const bool fits = !has_ended(from) && report.state.status == TaskStatus::sent &&
                    (from == TaskStatus::sent || from == TaskStatus::awaiting_choice) && chosen &&
                    record->task.spec.find_choice(chosen->option) != nullptr;
  if (!fits) return ignore(report.task_id);
  adopt(*record, report.state);
  save_state(store_, *record, now_);
}

void ReportApplier::take(const MessageReport& report) {
  MessageRecord record;
  record.message = report.message;
  record.message.node_id = record.poster = node_.id;
  if (!record.message.task_id.empty()) {
    const auto task = store_.task(record.message.task_id, WithData::no);
    if (task && task->task.spec.node_id != node_.id) {
      return troubles_.count(ReportTrouble::foreign, record.message.task_id);
    }
  }
  if (store_.insert_message(record)) store_.trim_messages(node_.id, limits_.messages);
}

void ReportApplier::take(const ChangedReport& report) {
  auto record = find(report.task.spec.id, "changed");
  if (!record) return;
  TaskState& state = record->task.state;
  const TaskState& reported = report.task.state;
  if (has_ended(state.status)) return take_deletion(*record, reported);
  const TaskStatus from = state.status == TaskStatus::pending ? TaskStatus::sent : state.status;
  if (reported.status != from && !may_become(from, reported.status)) return ignore(report.task.spec.id);
  adopt(*record, reported);
  adopt_spec(*record, report.task.spec);
  save_state(store_, *record, now_);
}

void ReportApplier::take_deletion(TaskRecord& record, const TaskState& reported) {
  if (!reported.deleted_at || record.task.state.deleted_at) return;
  record.task.state.deleted_at = reported.deleted_at;
  save_state(store_, record, now_);
}

void ReportApplier::adopt_spec(TaskRecord& record, const TaskSpec& reported) {
  TaskSpec spec = record.task.spec;
  spec.description = reported.description;
  spec.tags = reported.tags;
  spec.metadata = reported.metadata;
  spec.options = reported.options;
  spec.schedule = reported.schedule;
  if (spec == record.task.spec || !may_grow(record)) return;
  record.task.spec = std::move(spec);
  store_.update_task_spec(record.task.spec);
}

bool ReportApplier::is_about_a_cancel(const RefusedReport& report) const {
  if (report.directive < 1) return false;
  const auto refused = store_.offered_directives(node_.id, report.directive - 1, 1);
  return !refused.empty() && refused.front().sequence == report.directive &&
         (refused.front().kind == DirectiveKind::cancel || refused.front().kind == DirectiveKind::delete_);
}

void ReportApplier::take(const RefusedReport& report) {
  troubles_.count(ReportTrouble::refused, report.task_id + " " + report.code + ": " + report.message);
  // What the device could not read, it knows by its number only.
  auto task_id =
      report.task_id.empty() ? store_.task_of_directive(node_.id, report.directive) : report.task_id;
  if (!task_id) task_id = store_.task_of_choice(node_.id, report.directive);
  if (!task_id) return;
  auto record = store_.task(*task_id, WithData::no);
  if (!record || record->task.spec.node_id != node_.id || has_ended(record->task.state.status)) return;
  TaskState& state = record->task.state;
  const bool is_choice = record->choice_directive != 0 && record->choice_directive == report.directive;
  // Who won is told by the task itself.
  if (report.code != "already-chosen") state.detail = "the device refused a request: " + report.message;
  if (is_choice) {
    settle_choice(*record);
  } else if (is_about_a_cancel(report)) {
    state.cancel_requested_at.reset();
  }
  if (record->directive != 0 && record->directive == report.directive) {
    // The task itself could not be taken: the device will never run it.
    state.status = TaskStatus::failed;
    state.reason = reason::kInvalid;
    state.end_time = now_;
    settle_choice(*record);
  }
  save_state(store_, *record, now_);
}

bool ReportApplier::is_on_its_way(DirectiveKind kind, const std::string& task_id) const {
  return !store_.waiting_directives(node_.id, kind, task_id).empty();
}

void ReportApplier::take(const UnknownMessage& report) {
  troubles_.count(ReportTrouble::unreadable, report.kind + ": " + report.problem);
}

}  // namespace agenttask::server
