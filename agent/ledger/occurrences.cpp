#include "agent/ledger/occurrences.hpp"

#include <algorithm>
#include <utility>

#include "agent/ledger/detail_text.hpp"
#include "agent/ledger/recurrence.hpp"

namespace agenttask::agent {
namespace {

/// Its names, for people.
std::string names_of(const std::vector<Choice>& choices) {
  std::string names;
  for (const Choice& choice : choices) names += (names.empty() ? "" : ", ") + choice.name;
  return names;
}

void make_ready(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  state.status = TaskStatus::sent;
  state.reason.clear();
  state.detail.clear();
  state.next_run_at.reset();
  row.choice_due.reset();
  row.queue = Queue::ready;
  row.ready_at = write.now;
  write.change.work = true;
}

/// Until when the present question may be answered: of a recurring task as long after this occurrence was due
/// as choiceExpiresAt is after the first. One that is asked later than that, or in between, has as long.
std::optional<UnixMilliseconds> choice_deadline(const LedgerWrite& write, const TaskRow& row) {
  const TaskSpec& spec = row.task.spec;
  if (!spec.choice_expires_at || !row.recurs() || !row.first_due) return spec.choice_expires_at;
  const UnixMilliseconds first = *row.first_due - jitter_offset(spec.schedule.jitter, spec.id, spec.node_id);
  const DurationMilliseconds window = std::max<DurationMilliseconds>(*spec.choice_expires_at - first, 0);
  const std::int64_t occurrence = row.task.state.occurrence;
  if (occurrence == 0 || !row.grid_due) return write.now + window;
  const UnixMilliseconds due =
      row.grid_at - (row.last_occurrence - occurrence + 1) * *spec.schedule.update_interval;
  return due + window > write.now ? due + window : write.now + window;
}

void ask(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  state.status = TaskStatus::awaiting_choice;
  state.reason.clear();
  state.detail = to_detail("waits for somebody to choose: " + names_of(row.task.spec.choices));
  state.next_run_at.reset();
  row.choice_due = choice_deadline(write, row);
  row.queue = Queue::choice;
  row.ready_at = write.now;
  write.change.work = true;
}

/// It is due: it runs as soon as it can, or asks first.
void enter(LedgerWrite& write, TaskRow& row) {
  if (!row.task.spec.choices.empty() && !row.task.state.chosen) {
    ask(write, row);
  } else {
    make_ready(write, row);
  }
}

void begin_occurrence(LedgerWrite& write, TaskRow& row, std::int64_t number) {
  TaskState& state = row.task.state;
  state.occurrence = number;
  state.chosen.reset();
  row.base_runs = state.run_count;
  row.reruns = 0;
  enter(write, row);
}

void set_aside(LedgerWrite& write, TaskRow& row, std::string_view reason) {
  TaskState& state = row.task.state;
  state.status = TaskStatus::sent;
  state.reason = reason;
  state.detail.clear();
  row.choice_due.reset();
  row.queue = Queue::resting;
  row.ready_at = write.now;
  write.change.work = true;
}

void wait_until(LedgerWrite& write, TaskRow& row, UnixMilliseconds due) {
  set_aside(write, row, reason::kNotDue);
  row.queue = Queue::timed;
  row.task.state.next_run_at = due;
}

/// Between two occurrences; one that never began waits for its first time.
void rest(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  if (state.paused) {
    set_aside(write, row, reason::kPaused);
    state.next_run_at.reset();
  } else if (row.grid_due) {
    set_aside(write, row, reason::kNotDue);
    state.next_run_at = row.grid_at;
  } else {
    wait_until(write, row, row.first_due.value_or(write.now));
  }
}

/// The grid's next point is `wait` from now.
void set_grid(const LedgerWrite& write, TaskRow& row, DurationMilliseconds wait) {
  row.grid_due = write.since_boot + wait;
  row.grid_at = write.now + wait;
}

/// An occurrence that waited and will not run; one that was tried before has run.
void drop_active(TaskRow& row) {
  if (!row.has_run() && row.task.state.occurrence != 0) ++row.task.state.missed_count;
}

/// Counts the points that have passed and lets them wait or go, by the task's rules. Whether the active
/// occurrence has to give way.
bool settle(LedgerWrite& write, TaskRow& row, Before before) {
  if (!row.grid_due || !row.recurs()) return false;
  const DurationMilliseconds interval = *row.task.spec.schedule.update_interval;
  const Passed all = passed(*row.grid_due, interval, write.since_boot);
  if (all.points == 0) return false;
  const Passed asleep = passed(*row.grid_due, interval, std::min(write.since_boot, write.awake_since - 1));
  const Waiting waiting =
      take_due(row.task.spec.schedule, {asleep.points, all.points - asleep.points}, before, row.waiting);
  row.last_occurrence += all.points;
  row.waiting = waiting.occurrences;
  row.task.state.missed_count += waiting.missed;
  set_grid(write, row, all.next - write.since_boot);
  return waiting.replace;
}

/// What waited behind the active one will not run: the task is paused.
void drop_waiting(TaskRow& row) {
  row.task.state.missed_count += row.waiting;
  row.waiting = 0;
}

/// The points of the grid that came while the task was paused: nobody expected them, so they don't count.
void pass_by(const LedgerWrite& write, TaskRow& row) {
  if (!row.grid_due || !row.recurs()) return;
  const Passed meanwhile = passed(*row.grid_due, *row.task.spec.schedule.update_interval, write.since_boot);
  row.last_occurrence += meanwhile.points;
  set_grid(write, row, meanwhile.next - write.since_boot);
}

/// With nothing active: the oldest that waits begins, or the task rests.
void next_or_rest(LedgerWrite& write, TaskRow& row) {
  if (row.waiting == 0 || row.task.state.paused) return rest(write, row);
  const std::int64_t number = row.last_occurrence - row.waiting + 1;
  --row.waiting;
  begin_occurrence(write, row, number);
}

/// What recurred runs once from now on: what it was answered, and tried, was for its occurrences.
void forget_occurrences(TaskRow& row) {
  TaskState& state = row.task.state;
  state.chosen.reset();
  state.occurrence = row.last_occurrence = 0;
  row.base_runs = state.run_count;
  row.reruns = 0;
}

/// Another schedule: a grid that begins anew, without what is active being touched.
void lay_grid(const LedgerWrite& write, TaskRow& row) {
  row.grid_due.reset();
  if (!row.recurs() || *row.first_due > write.now) return;
  const DurationMilliseconds interval = *row.task.spec.schedule.update_interval;
  set_grid(write, row, interval - (write.now - *row.first_due) % interval);
}

}  // namespace

void place(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  const TaskSpec& spec = row.task.spec;
  const bool is_new = !row.first_due;
  const bool has_begun = row.recurs() && row.last_occurrence > 0;
  if (spec.schedule.scheduled_for || !has_begun) {
    row.first_due = spec.schedule.scheduled_for.value_or(write.now) +
                    jitter_offset(spec.schedule.jitter, spec.id, spec.node_id);
  }
  write.change.work = true;
  if (!row.recurs()) row.waiting = 0;
  if (!row.recurs() && row.last_occurrence > 0 && !row.is_active()) forget_occurrences(row);
  if (!is_new && row.is_active() && (row.recurs() || state.status != TaskStatus::sent)) {
    return lay_grid(write, row);  // what is under way goes on as it is
  }
  lay_grid(write, row);
  if (state.paused) return set_aside(write, row, reason::kPaused);
  if (*row.first_due > write.now) return wait_until(write, row, *row.first_due);
  if (!row.recurs()) return enter(write, row);
  if (has_begun) return rest(write, row);
  begin_occurrence(write, row, ++row.last_occurrence);
}

void arrive(LedgerWrite& write, TaskRow& row, bool just_awoke) {
  if (!row.recurs()) return enter(write, row);
  const DurationMilliseconds interval = *row.task.spec.schedule.update_interval;
  DurationMilliseconds late =
      std::max<DurationMilliseconds>(write.now - row.task.state.next_run_at.value_or(write.now), 0);
  if (!just_awoke) late %= interval;  // the grid keeps its phase
  set_grid(write, row, -late);
  set_aside(write, row, reason::kNotDue);
  tick(write, row);
}

void tick(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  const bool active = row.is_active();
  const bool replace = settle(write, row, active ? Before::active : Before::nothing);
  if (active && !replace) return;
  if (active && state.status == TaskStatus::running) {
    write.change.replaced.push_back(row.task.spec.id);
    return;
  }
  if (active) drop_active(row);
  next_or_rest(write, row);
}

void after_run(LedgerWrite& write, TaskRow& row) {
  if (row.task.state.paused) {
    pass_by(write, row);
  } else {
    (void)settle(write, row, Before::ending);
  }
  next_or_rest(write, row);
}

Result<void> pause(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  if (state.paused) return {};
  state.paused = true;
  if (row.recurs() && row.is_active()) {
    (void)settle(write, row, Before::active);  // what came until now counts by the task's rules
    drop_waiting(row);
  }
  // A question of a task that runs once stays open: what was chosen counts when it goes on.
  if (state.status == TaskStatus::running || (row.queue == Queue::choice && !row.recurs())) return {};
  if (row.recurs() && row.is_active()) {
    drop_active(row);
  }
  set_aside(write, row, reason::kPaused);
  state.next_run_at.reset();
  return {};
}

Result<void> resume(LedgerWrite& write, TaskRow& row) {
  TaskState& state = row.task.state;
  if (!state.paused) return {};
  state.paused = false;
  pass_by(write, row);
  if (row.queue != Queue::resting) return {};  // it runs, or was let run, or asks: that goes on
  if (row.recurs()) {
    if (!row.grid_due) lay_grid(write, row);
    rest(write, row);
  } else if (*row.first_due > write.now) {
    wait_until(write, row, *row.first_due);
  } else {
    enter(write, row);
  }
  return {};
}

void wait_for_resume(LedgerWrite& write, TaskRow& row) {
  set_aside(write, row, reason::kPaused);
  row.task.state.next_run_at.reset();
}

Result<void> run_now(LedgerWrite& write, TaskRow& row) {
  const TaskStatus status = row.task.state.status;
  if (status == TaskStatus::running) {
    return Error{ErrorCode::conflict, "it runs already; try again when this run has ended"};
  }
  if (status == TaskStatus::awaiting_choice) {
    return Error{ErrorCode::conflict,
                 "it waits for a choice first: " + names_of(row.task.spec.choices) + " (agenttask choose)"};
  }
  switch (row.queue) {
    case Queue::ready:
    case Queue::no_worker:
    case Queue::key_held:
      return {};  // it does so as soon as it can
    case Queue::delayed:
      make_ready(write, row);
      return {};
    default:
      break;
  }
  if (row.recurs()) {
    begin_occurrence(write, row, 0);
  } else {
    enter(write, row);
  }
  return {};
}

Result<void> choose(LedgerWrite& write, TaskRow& row, ChoiceMade made, const Question& question) {
  TaskState& state = row.task.state;
  const TaskSpec& spec = row.task.spec;
  const bool asks = state.status == TaskStatus::awaiting_choice;
  if (spec.choices.empty()) {
    return Error{ErrorCode::conflict, "the task asks nothing: it has no choices", "option"};
  }
  if (spec.find_choice(made.option) == nullptr) {
    return Error{ErrorCode::invalid, "is none of its choices; they are " + names_of(spec.choices), "option"};
  }
  const bool is_meant = question.occurrence.value_or(state.occurrence) == state.occurrence &&
                        question.runs.value_or(state.run_count) == state.run_count;
  if (!asks || !is_meant) {
    if (state.chosen) {
      return Error{ErrorCode::conflict, state.chosen->by + " chose " + state.chosen->option + " already",
                   "option"};
    }
    if (has_ended(state.status)) return Error{ErrorCode::conflict, "the task has ended", "option"};
    return Error{ErrorCode::conflict,
                 asks ? "the answer is for an earlier question" : "the task does not ask yet: it is not due",
                 "option"};
  }
  made.time = write.now;
  state.chosen = std::move(made);
  state.updated_at = std::max(write.now, state.updated_at + 1);
  if (state.paused) {
    set_aside(write, row, reason::kPaused);
  } else {
    make_ready(write, row);
  }
  write.report({0, ChosenReport{spec.id, state}}, &row);
  save_task(write.database, row);
  write.change.tasks.push_back(spec.id);
  return {};
}

void occurrence_refused(LedgerWrite& write, TaskRow& row, std::string_view reason, std::string_view detail) {
  drop_active(row);
  // Those that wait behind it would hear the same.
  drop_waiting(row);
  (void)settle(write, row, Before::ending);
  drop_waiting(row);
  rest(write, row);
  row.task.state.detail =
      to_detail("the last occurrence was refused (" + std::string(reason) + "): " + std::string(detail));
  write.save_often_changed(row);
  write.release_key(row.task.spec.options.concurrency_key);
  write.change.tasks.push_back(row.task.spec.id);
}

void choice_expired(LedgerWrite& write, TaskRow& row) {
  const TaskSpec& spec = row.task.spec;
  if (!spec.default_choice.empty()) {
    (void)choose(write, row, {spec.default_choice, "default", write.now}, {});
  } else if (row.recurs()) {
    drop_active(row);
    (void)settle(write, row, Before::ending);
    next_or_rest(write, row);
    write.save_often_changed(row);
  } else {
    write.end_without_run(row, TaskStatus::failed, reason::kExpired, "nobody chose before choiceExpiresAt");
  }
}

void resume_grids(LedgerWrite& write, bool same_boot) {
  if (same_boot) return;
  // Further away than one interval is only what a wall clock that was ahead once has written.
  write.database.execute(
      "UPDATE tasks SET grid_at = ?1 + (grid_at - ?1) % update_interval WHERE grid_due IS NOT NULL"
      " AND grid_at - ?1 > update_interval",
      {write.now});
  write.database.execute(
      "UPDATE tasks SET grid_due = ?2 + grid_at - ?1, tick = CASE WHEN tick IS NULL THEN NULL"
      " ELSE ?2 + grid_at - ?1 END WHERE grid_due IS NOT NULL",
      {write.now, write.since_boot});
}

void move_grids(LedgerWrite& write, DurationMilliseconds change) {
  write.database.execute(
      "UPDATE tasks SET grid_at = grid_at + ?1,"
      " next_run_at = CASE WHEN queue = 5 AND next_run_at IS NOT NULL THEN next_run_at + ?1 ELSE next_run_at "
      "END"
      " WHERE grid_due IS NOT NULL",
      {change});
}

}  // namespace agenttask::agent
