#include <algorithm>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/changes.hpp"
#include "server/store/streams.hpp"

// The other stream: what devices report.
namespace agenttask::server {
namespace {

// What one device can make the server keep; past it, reports are counted in the log only.
constexpr std::int64_t kOrphans = 10'000;
constexpr std::int64_t kOrphanBytes = 64LL * 1024 * 1024;
constexpr std::int64_t kRuns =
    1 + limits::kMaxAttempts + limits::kRerunsAfterInterrupt;  // of a task that runs once
constexpr std::size_t kTrimmedAtOnce = 20;

/// Applies the reports of one batch, one after another. What can't be applied is counted and passed: only a
/// failure of the storage stops a stream.
class Applier {
 public:
  Applier(WriteStore& store, NodeRecord& node, UnixMilliseconds now, const HistoryLimits& limits)
      : store_(store), node_(node), now_(now), limits_(limits) {}

  void apply(const Report& report, const std::string& line) {
    line_ = &line;
    std::visit([this](const auto& body) { take(body); }, report.body);
  }

  /// One line of the log for each kind of trouble, however much there was of it.
  void log(Logger& logger) const {
    for (const auto& [count, what, example] :
         {std::tuple(foreign_, "refused reports about tasks of another node", &foreign_example_),
          std::tuple(orphans_, "kept reports about unknown tasks", &orphan_example_),
          std::tuple(full_, "passed reports, as this device has made the server keep as much as it may",
                     &full_example_),
          std::tuple(ignored_, "passed reports that contradict what is known", &ignored_example_),
          std::tuple(unreadable_, "passed reports that this version cannot read", &unreadable_example_),
          std::tuple(refused_, "a device could not apply directives", &refused_example_)}) {
      if (count > 0) logger.warning(what, {{"node", node_.id}, {"count", count}, {"first", *example}});
    }
  }

 private:
  static void count(int& counter, std::string& example, const std::string& what) {
    if (counter++ == 0) example = what;
  }
  void ignore(const std::string& task_id) { count(ignored_, ignored_example_, task_id); }

  [[nodiscard]] std::int64_t line_bytes() const { return static_cast<std::int64_t>(line_->size()); }

  /// Whether as much as this line may be kept of tasks that were made on the device, `more_tasks` of them
  /// new.
  bool has_room(const std::string& task_id, std::int64_t more_tasks) {
    const DeviceTotals totals = store_.device_totals(node_.id);
    if (totals.tasks + more_tasks <= limits_.device.tasks &&
        totals.task_bytes + line_bytes() <= limits_.device.bytes) {
      return true;
    }
    count(full_, full_example_, task_id);
    return false;
  }

  /// Whether what the line says of the task may be kept besides its state.
  bool may_grow(const TaskRecord& record) {
    return record.created_by != "device" || has_room(record.task.spec.id, 0);
  }

  /// The task, if it is one of this node; else the report is dealt with here.
  std::optional<TaskRecord> find(const std::string& task_id, std::string_view kind) {
    auto record = store_.task(task_id, WithData::no);
    if (!record) {
      if (!store_.tombstone(task_id)) keep_orphan(task_id, kind);
      return std::nullopt;
    }
    if (record->task.spec.node_id != node_.id) {
      count(foreign_, foreign_example_, task_id);
      return std::nullopt;
    }
    return record;
  }

  void keep_orphan(const std::string& task_id, std::string_view kind) {
    count(orphans_, orphan_example_, task_id);
    const DeviceTotals totals = store_.device_totals(node_.id);
    if (totals.orphans >= kOrphans || totals.orphan_bytes + line_bytes() > kOrphanBytes) return;
    store_.insert_orphan({node_.id, task_id, std::string(kind), *line_, now_});
  }

  /// A report about a task proves that the device holds it, before the cursor of its next poll says so.
  void imply_sent(TaskState& state) const {
    if (state.status != TaskStatus::pending) return;
    state.status = TaskStatus::sent;
    if (!state.sent_time) state.sent_time = now_;
  }

  /// Whether an end that the server has may give way: only one that it decided alone or that a snapshot
  /// corrects, and only after the pasts of both were found to differ. What another ledger has reported stands
  /// against an older one.
  [[nodiscard]] bool end_may_change(const TaskRecord& record) const {
    if (!node_.forked) return false;
    return record.decided_alone || (node_.snapshot && !node_.ledger_lost);
  }

  /// Takes over what the device says of a task's state. `status` was checked by the caller.
  void adopt(TaskRecord& record, const TaskState& reported) {
    TaskState& state = record.task.state;
    imply_sent(state);
    const bool was_running = state.status == TaskStatus::running;
    // The end that is taken back was the server's own word.
    if (has_ended(state.status) && !has_ended(reported.status)) store_.clear_result(record.task.spec.id);
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

  /// Whether the question is no longer the one that the operator saw.
  static bool has_moved_on(const TaskRecord& record) {
    const TaskState& state = record.task.state;
    if (!state.choice_requested || !record.task.spec.schedule.recurs()) return false;
    return state.occurrence != record.choice_occurrence.value_or(state.occurrence) ||
           state.run_count > record.choice_runs.value_or(state.run_count);
  }

  void take(const StartedReport& report) {
    auto record = find(report.task_id, "started");
    if (!record) return;
    TaskState& state = record->task.state;
    imply_sent(state);
    if (!may_become(state.status, TaskStatus::running) || is_too_much(*record, report.run) ||
        store_.run(report.task_id, report.run)) {
      return ignore(report.task_id);
    }
    if (may_grow(*record)) {
      store_.put_run({report.task_id,
                      report.run,
                      RunStatus::running,
                      {},
                      report.time,
                      {},
                      {},
                      report.occurrence,
                      report.option});
      // An update in the meantime changes nothing about this run.
      store_.set_output_limit(report.task_id, report.run, record->task.spec.options.max_output_bytes);
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
    trim(*record, 1);
  }

  /// Housekeeping keeps runs within their number; it is not to be outrun. `added`: by this report.
  void trim(const TaskRecord& record, std::size_t added) {
    if (record.task.state.run_count - record.trimmed_runs > 2 * limits_.runs)
      (void)store_.trim_runs(record.task.spec.id, limits_.runs, kTrimmedAtOnce + added);
  }

  /// More than a task that runs once can have, or one of those that were removed. Of a task that recurs they
  /// are removed as they become many.
  static bool is_too_much(const TaskRecord& record, std::int64_t run) {
    const Task& task = record.task;
    return run <= record.trimmed_runs ||
           (run > kRuns && !task.spec.schedule.recurs() && task.state.run_count <= kRuns);
  }

  void take(const OutputReport& report) {
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

  void take(const EndedReport& report) {
    auto record = find(report.task_id, "ended");
    if (!record) return;
    const TaskStatus to = report.state.status;
    TaskStatus from = record->task.state.status;
    if (report.run && (report.run->task_id != report.task_id || report.run->status == RunStatus::running ||
                       is_too_much(*record, report.run->number))) {
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
    if (report.run && has_place) {
      put_run(*report.run, record->task.spec);
    } else if (report.run && store_.run(report.task_id, report.run->number)) {
      Run run = *report.run;
      run.result = left_out(run.status == RunStatus::complete);
      store_.put_run(run);
    }
    adopt(*record, report.state);
    if (report.run) {
      if (report.state.result.empty()) record->task.state.result = report.run->result;
      record->task.state.run_count = std::max(record->task.state.run_count, report.run->number);
      record->task.state.start_time = report.run->start_time;
    }
    if (!has_place && !record->task.state.result.empty()) {
      record->task.state.result =
          left_out(report.run ? report.run->status == RunStatus::complete : to == TaskStatus::complete);
    }
    save_state(store_, *record, now_);
    trim(*record, 1);
  }

  /// Stands for a result for which there is no room.
  static std::string left_out(bool success) {
    return encode_json(
        {{"success", success},
         {"note", "the result was left out: this device has made the server keep as much as it may"}});
  }

  /// Of a run whose start it did not hear, the server does not know under which limit it began.
  void put_run(const Run& run, const TaskSpec& spec) {
    store_.put_run(run);
    store_.set_output_limit(run.task_id, run.number,
                            std::max(spec.options.max_output_bytes, limits::kDefaultMaxOutputBytes));
  }

  /// The device says what the server has already: from now on it is known to both.
  void confirm(TaskRecord& record) {
    if (!record.decided_alone) return;
    record.decided_alone = false;
    save_state(store_, record, now_);
  }

  void take(const ChosenReport& report) {
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

  void take(const MessageReport& report) {
    MessageRecord record;
    record.message = report.message;
    record.message.node_id = record.poster = node_.id;
    if (!record.message.task_id.empty()) {
      const auto task = store_.task(record.message.task_id, WithData::no);
      if (task && task->task.spec.node_id != node_.id) {
        return count(foreign_, foreign_example_, record.message.task_id);
      }
    }
    if (store_.insert_message(record)) store_.trim_messages(node_.id, limits_.messages);
  }

  void take(const ChangedReport& report) {
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

  /// The one thing that changes after the end.
  void take_deletion(TaskRecord& record, const TaskState& reported) {
    if (!reported.deleted_at || record.task.state.deleted_at) return;
    record.task.state.deleted_at = reported.deleted_at;
    save_state(store_, record, now_);
  }

  /// What an update may change; the rest is the server's since the task was made.
  void adopt_spec(TaskRecord& record, const TaskSpec& reported) {
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

  void take(const CreatedReport& report) {
    const std::string& id = report.task.spec.id;
    auto record = store_.task(id, WithData::no);
    if (!record) return insert(report);
    if (record->task.spec.node_id != node_.id) return count(foreign_, foreign_example_, id);
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
    if (!has_place) record->task.state.result.clear();  // the one that is stored stays
    adopt_spec(*record, report.task.spec);
    save_state(store_, *record, now_);
    if (has_place) put_runs(*record, report.runs);
  }

  /// A later ledger than this one has started it, or seen its end: it must not run again.
  static bool has_begun_elsewhere(const TaskRecord& record, const TaskState& reported) {
    const TaskState& state = record.task.state;
    if (has_ended(state.status) && !record.decided_alone) return true;
    return state.run_count > reported.run_count;
  }

  void end_elsewhere(TaskRecord& record) {
    const std::string id = record.task.spec.id;
    if (!has_ended(record.task.state.status)) {
      end_interrupted(store_, record,
                      "it was started, and the device's ledger was put back to a time before that", now_);
    }
    if (!store_.waiting_directives(node_.id, DirectiveKind::cancel, id).empty()) return;
    store_.append_directive({0, node_.id, DirectiveKind::cancel, id, {}, 0, {}});
    store_.touch("node:" + node_.id);
  }

  /// Whether the end that the server has gives way to what a snapshot says.
  [[nodiscard]] bool snapshot_corrects(const TaskRecord& record, const TaskState& reported) const {
    const TaskStatus known = record.task.state.status;
    if (!end_may_change(record)) return false;
    if (!has_ended(reported.status)) {
      // A cancel is on its way to it; what was only given up for lost goes on.
      return record.decided_alone && known == TaskStatus::failed;
    }
    return known != reported.status || record.decided_alone;
  }

  void insert(const CreatedReport& report) {
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

  void put_runs(const TaskRecord& record, const std::vector<Run>& runs) {
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
    store_.close_runs(task.spec.id,
                      task.state.status == TaskStatus::running ? task.state.run_count : INT64_MAX, now_);
    trim(record, keep);
  }

  void take(const SnapshotEndReport&) {
    if (!node_.snapshot) return;
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

  /// Answers that the device has taken or refused, and what it said about them was lost with the epoch
  /// before: the snapshot has told what holds.
  void settle_lost_answers() {
    for (const auto& id : store_.tasks_with_choice_requested(node_.id)) {
      if (is_on_its_way(DirectiveKind::choose, id)) continue;
      auto record = store_.task(id, WithData::no);
      if (!record) continue;
      settle_choice(*record);
      save_state(store_, *record, now_);
    }
  }

  [[nodiscard]] bool is_on_its_way(DirectiveKind kind, const std::string& task_id) const {
    return !store_.waiting_directives(node_.id, kind, task_id).empty();
  }

  void take(const RefusedReport& report) {
    count(refused_, refused_example_, report.task_id + " " + report.code + ": " + report.message);
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
    } else if (!is_on_its_way(DirectiveKind::cancel, *task_id) &&
               !is_on_its_way(DirectiveKind::delete_, *task_id)) {
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

  void take(const UnknownMessage& report) {
    count(unreadable_, unreadable_example_, report.kind + ": " + report.problem);
  }

  WriteStore& store_;
  NodeRecord& node_;
  UnixMilliseconds now_;
  HistoryLimits limits_;
  const std::string* line_ = nullptr;
  int foreign_ = 0, orphans_ = 0, full_ = 0, ignored_ = 0, unreadable_ = 0, refused_ = 0;
  std::string foreign_example_, orphan_example_, full_example_, ignored_example_, unreadable_example_,
      refused_example_;
};

ReportAnswer resync(const NodeRecord& node) {
  return {node.epoch, true, node.reports};
}

/// The device keeps them.
ReportAnswer nothing_taken(const ReportBatch& batch) {
  return {batch.epoch, false, batch.after};
}

ReportAnswer open_for(WriteStore& store, NodeRecord& node, std::int64_t epoch, Logger& logger) {
  logger.warning(
      "a device's reports do not follow those that the server has (was a database restored?): opening a new "
      "epoch",
      {{"node", node.id}, {"epoch", node.epoch}, {"device_epoch", epoch}});
  open_epoch(store, node, epoch);
  return resync(node);
}

}  // namespace

Result<ReportAnswer> apply_reports(WriteStore& store, NodeRecord node, const ReportBatch& batch,
                                   UnixMilliseconds now, Logger& logger, const HistoryLimits& limits) {
  const Cursor& after = batch.after;
  // Its poll decides first whether this start of the agent is the device's.
  const bool known_agent = node.incarnation.empty() || batch.incarnation == node.incarnation;
  if (node.quarantined_at || !known_agent) return nothing_taken(batch);
  if (batch.epoch < node.epoch) {
    return node.acknowledged.sequence > 0 || node.reports.sequence > 0 ? nothing_taken(batch) : resync(node);
  }
  if (batch.epoch > node.epoch || after.sequence > node.reports.sequence ||
      (after.sequence == node.reports.sequence && after.chain != node.reports.chain)) {
    return open_for(store, node, batch.epoch, logger);
  }
  Applier applier(store, node, now, limits);
  Cursor cursor = after;
  const Cursor known = node.reports;
  for (const auto& line : batch.lines) {
    const auto report = decode_report(line);
    if (!report) return report.error();
    if (report->sequence != cursor.sequence + 1) {
      return Error{ErrorCode::invalid, "report " + std::to_string(report->sequence) + " follows number " +
                                           std::to_string(cursor.sequence) +
                                           ": sequences must not leave gaps"};
    }
    cursor = agenttask::advance(cursor, line);
    if (cursor.sequence > known.sequence) {
      applier.apply(*report, line);
      node.reports = cursor;
    } else if (cursor.sequence == known.sequence && cursor.chain != known.chain) {
      return open_for(store, node, batch.epoch, logger);
    }
  }
  applier.log(logger);
  if (node.reports.sequence != known.sequence) {
    if (known.sequence == 0) node.progressed_at = now;
    store.update_node(node);
  }
  return ReportAnswer{node.epoch, false, node.reports};
}

}  // namespace agenttask::server
