#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/changes.hpp"
#include "server/store/report_applier.hpp"

// What reports say of runs: their starts, their output, their ends.
namespace agenttask::server {
namespace {

constexpr std::int64_t kRuns =
    1 + limits::kMaxAttempts + limits::kRerunsAfterInterrupt;  // of a task that runs once
constexpr std::size_t kTrimmedAtOnce = 20;

/// More than a task that runs once can have beyond those that it had, as it may have recurred before; or one
/// of those that were removed. Runs are removed as they become many.
bool is_too_much(const TaskRecord& record, std::int64_t run) {
  const Task& task = record.task;
  return run <= record.trimmed_runs || (!task.spec.schedule.recurs() && run - kRuns > task.state.run_count);
}

/// Stands for a result for which there is no room.
std::string left_out(bool success) {
  return encode_json(
      {{"success", success},
       {"note", "the result was left out: this device has made the server keep as much as it may"}});
}

}  // namespace

void ReportApplier::take(const StartedReport& report) {
  auto record = find(report.task_id, "started");
  if (!record) return;
  TaskState& state = record->task.state;
  imply_sent(state);
  if (!may_become(state.status, TaskStatus::running) || is_too_much(*record, report.run) ||
      store_.run(report.task_id, report.run)) {
    return ignore(report.task_id);
  }
  if (may_grow(*record)) {
    // An update in the meantime changes nothing about the limit of this run.
    store_.put_run({report.task_id,
                    report.run,
                    RunStatus::running,
                    {},
                    report.time,
                    {},
                    {},
                    report.occurrence,
                    report.option},
                   record->task.spec.options.max_output_bytes);
  }
  // The cursor that says so may come later than the start: it was there by then at the latest.
  if (report.time >= state.add_time && report.time < state.sent_time.value_or(0))
    state.sent_time = report.time;
  state.status = TaskStatus::running;
  state.reason.clear();
  state.detail.clear();
  state.start_time = report.time;
  state.next_run_at.reset();
  state.run_count = std::max(state.run_count, report.run);
  state.occurrence = report.occurrence;
  save_state(store_, *record, now_);
  if (!trim(*record, 1)) started_ = std::move(record);
}

void ReportApplier::take(const OutputReport& report) {
  const auto record = find(report.task_id, "output");
  if (!record) return;
  if (has_ended(record->task.state.status) && !node_.snapshot) return ignore(report.task_id);
  const auto size = static_cast<std::int64_t>(report.chunk.bytes.size());
  const auto limit = store_.output_limit(report.task_id, report.run);
  if (!limit) return ignore(report.task_id);  // nobody said that this run began
  // What a device may keep, and a chunk more for how head and tail are cut.
  const auto most = *limit + static_cast<std::int64_t>(limits::kOutputChunkBytes);
  if (size == 0 || report.chunk.offset > INT64_MAX - size ||
      store_.output_bytes(report.task_id, report.run, report.chunk.stream) + size > most) {
    return ignore(report.task_id);
  }
  if (!may_grow(*record)) return;
  store_.put_output(report.task_id, report.run, report.chunk);
  store_.touch("output:" + report.task_id);
}

void ReportApplier::take(const EndedReport& report) {
  auto record = find(report.task_id, "ended");
  if (!record) return;
  const TaskStatus to = report.state.status;
  TaskStatus from = record->task.state.status;
  // The end of a task counts, whatever number its run has.
  const bool run_counts = report.run && !is_too_much(*record, report.run->number);
  if (report.run && (report.run->task_id != report.task_id || report.run->status == RunStatus::running ||
                     (!run_counts && !has_ended(to)))) {
    return ignore(report.task_id);
  }
  if (has_ended(from)) {
    // The same end, unless the server decided alone and the device ran it: then there is more to know.
    if (from == to && !(record->decided_alone && report.run)) return confirm(*record);
    if (!end_may_change(*record) || !has_ended(to)) return ignore(report.task_id);
    // What the device was told to cancel as it may have run already was not cancelled in time.
    if (record->decided_alone && record->task.state.reason == reason::kInterrupted && !report.run &&
        to == TaskStatus::cancelled && !node_.snapshot) {
      return ignore(report.task_id);
    }
  } else {
    if (from == TaskStatus::pending) from = TaskStatus::sent;
    if (report.run && from == TaskStatus::sent) from = TaskStatus::running;
    const bool fits = to != TaskStatus::pending && to != TaskStatus::running &&
                      (to == from || may_become(from, to) ||
                       (node_.forked && node_.snapshot && !report.run && has_ended(to)));
    if (!fits) return ignore(report.task_id);
  }
  const bool has_place = may_grow(*record);
  if (run_counts && has_place) {
    put_run(*report.run, record->task.spec);
  } else if (run_counts && store_.run(report.task_id, report.run->number)) {
    Run run = *report.run;
    run.result = left_out(run.status == RunStatus::complete);
    store_.put_run(run, std::nullopt);
  }
  adopt(*record, report.state);
  if (report.run) {
    if (report.state.result.empty()) record->task.state.result = report.run->result;
    if (run_counts) record->task.state.run_count = std::max(record->task.state.run_count, report.run->number);
    record->task.state.start_time = report.run->start_time;
  }
  if (!has_place && !record->task.state.result.empty()) {
    record->task.state.result =
        left_out(report.run ? report.run->status == RunStatus::complete : to == TaskStatus::complete);
  }
  save_state(store_, *record, now_);
  (void)trim(*record, 1);
}

bool ReportApplier::end_may_change(const TaskRecord& record) const {
  if (!node_.forked) return false;
  return record.decided_alone || (node_.snapshot && !node_.ledger_lost);
}

void ReportApplier::confirm(TaskRecord& record) {
  if (!record.decided_alone) return;
  record.decided_alone = false;
  save_state(store_, record, now_);
}

void ReportApplier::put_run(const Run& run, const TaskSpec& spec) {
  store_.put_run(run, std::max(spec.options.max_output_bytes, limits::kDefaultMaxOutputBytes));
}

void ReportApplier::put_runs(const TaskRecord& record, const std::vector<Run>& runs) {
  const Task& task = record.task;
  const auto keep = static_cast<std::size_t>(limits_.runs);
  for (std::size_t i = runs.size() > keep ? runs.size() - keep : 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    if (run.task_id == task.spec.id && run.number <= task.state.run_count &&
        !is_too_much(record, run.number)) {
      put_run(run, task.spec);
    }
  }
  // Only the last can still run.
  store_.close_runs(task.spec.id, task.state.status == TaskStatus::running ? task.state.run_count : INT64_MAX,
                    now_);
  (void)trim(record, keep);
}

bool ReportApplier::trim(const TaskRecord& record, std::size_t added) {
  if (record.task.state.run_count - record.trimmed_runs <= 2 * limits_.runs) return false;
  (void)store_.trim_runs(record.task.spec.id, limits_.runs, kTrimmedAtOnce + added);
  return true;
}

}  // namespace agenttask::server
