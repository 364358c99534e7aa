#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "agent/ledger/detail_text.hpp"
#include "agent/ledger/ledger_body.hpp"
#include "agent/ledger/occurrences.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

bool is_retried(std::string_view reason) {
  return reason == reason::kExitStatus || reason == reason::kTimeout || reason == reason::kWorkerError;
}

/// The wait before attempt `attempts` + 1: doubles each time, a quarter more or less so that a fleet spreads
/// out, and still growing from one attempt to the next.
DurationMilliseconds retry_delay(const RetryPolicy& retry, std::int64_t attempts, double fraction) {
  const double doubled =
      static_cast<double>(retry.backoff) * std::pow(2.0, static_cast<double>(attempts - 1));
  const double bounded = std::min(doubled, static_cast<double>(retry.max_backoff));
  return static_cast<DurationMilliseconds>(bounded * (0.75 + 0.5 * fraction));
}

/// Records one end: where the task goes from here.
class Ending {
 public:
  Ending(LedgerWrite& write, TaskRow& row, double fraction) : write_(write), row_(row), fraction_(fraction) {}

  /// When the run ended: now, or before where it was not heard of at once.
  [[nodiscard]] static UnixMilliseconds time_of(const RunOutcome& outcome, const TaskRow& row,
                                                UnixMilliseconds now) {
    const auto earliest = std::min(row.task.state.start_time.value_or(now), now);
    return std::clamp(outcome.ended_at.value_or(now), earliest, now);
  }

  void apply(const RunOutcome& outcome) {
    TaskState& state = row_.task.state;
    ended_ = time_of(outcome, row_, write_.now);
    state.updated_at = write_.now;
    const bool goes_on = !state.cancel_requested_at && !state.deleted_at;
    const bool tried_again = !state.paused && (reruns(outcome) || retries(outcome));
    if (row_.recurs() && goes_on && !tried_again) {
      state.detail = to_detail(outcome.detail);
      after_run(write_, row_);
    } else if (row_.recurs() && state.cancel_requested_at) {
      finish(TaskStatus::cancelled, "", outcome.detail);
    } else if (outcome.status == RunStatus::complete) {
      finish(TaskStatus::complete, "", outcome.detail);
    } else if (outcome.status == RunStatus::cancelled) {
      finish(TaskStatus::cancelled, "", outcome.detail);
    } else if (reruns(outcome) || retries(outcome)) {
      // Somebody wants it to end, so it is not tried again.
      if (state.cancel_requested_at) {
        finish(TaskStatus::cancelled, "", outcome.detail);
      } else if (state.paused) {
        if (reruns(outcome)) ++row_.reruns;
        wait_for_resume(write_, row_);
      } else if (reruns(outcome)) {
        rerun(outcome);
      } else {
        retry(outcome);
      }
    } else {
      finish(TaskStatus::failed, outcome.reason, outcome.detail);
    }
  }

 private:
  [[nodiscard]] bool reruns(const RunOutcome& outcome) const {
    return outcome.reason == reason::kInterrupted && outcome.may_rerun &&
           row_.task.spec.options.on_interrupt == OnInterrupt::rerun &&
           row_.reruns < limits::kRerunsAfterInterrupt;
  }
  /// Of the present occurrence.
  [[nodiscard]] std::int64_t attempts() const {
    return row_.task.state.run_count - row_.base_runs - row_.reruns;
  }
  [[nodiscard]] bool retries(const RunOutcome& outcome) const {
    const auto& retry = row_.task.spec.options.retry;
    return retry && outcome.may_rerun && is_retried(outcome.reason) && attempts() < retry->max_attempts;
  }
  void finish(TaskStatus status, std::string_view reason, std::string_view detail) {
    TaskState& state = row_.task.state;
    state.status = status;
    state.reason = reason;
    state.detail = to_detail(detail);
    state.end_time = ended_;
    state.next_run_at.reset();
    row_.queue = Queue::none;
  }
  void rerun(const RunOutcome& outcome) {
    ++row_.reruns;
    row_.queue = Queue::ready;
    row_.ready_at = write_.now;
    wait_again("", outcome.detail);
  }
  void retry(const RunOutcome& outcome) {
    const RetryPolicy& policy = *row_.task.spec.options.retry;
    write_.delay(row_, retry_delay(policy, attempts(), fraction_));
    wait_again(reason::kRetryBackoff, "attempt " + std::to_string(attempts()) + " of " +
                                          std::to_string(policy.max_attempts) + " failed: " + outcome.reason +
                                          (outcome.detail.empty() ? "" : ", " + outcome.detail));
  }
  void wait_again(std::string_view reason, std::string_view detail) {
    TaskState& state = row_.task.state;
    state.status = TaskStatus::sent;
    state.reason = reason;
    state.detail = to_detail(detail);
    write_.change.work = true;
  }

  LedgerWrite& write_;
  TaskRow& row_;
  double fraction_;
  UnixMilliseconds ended_ = 0;
};

/// Says in a result what the run wished and could not have.
std::string with_notes(const std::string& result, const std::vector<std::string>& notes) {
  auto value = parse_json(result, limits::kJsonDepth + 8);
  if (!value || !value->is_object()) return result;
  (*value)["notes"] = notes;
  return encode_json(*value);
}

/// Applies what a successful run asked for. What has become impossible since it asked is noted.
class WishGranter {
 public:
  WishGranter(LedgerWrite& write, TaskRow& own) : write_(write), own_(own) {}

  std::vector<std::string> grant(const std::vector<Wish>& wishes) {
    for (const Wish& wish : wishes) {
      std::visit([&](const auto& one) { grant(one); }, wish);
    }
    return std::move(notes_);
  }

 private:
  void grant(const CreateWish& wish) {
    if (load_task(write_.database, wish.spec.id) || write_.remembers(wish.spec.id)) {
      return note("createTask " + wish.spec.id, "another task has this id");
    }
    TaskRow row;
    row.task.spec = wish.spec;
    write_.insert_local(row, request_digest_of(wish.spec));
  }
  void grant(const UpdateWish& wish) {
    const std::string what = "updateTask " + wish.task_id;
    std::optional<TaskRow> other;
    if (wish.task_id != own_.task.spec.id) {
      other = load_task(write_.database, wish.task_id);
      if (!other) return note(what, "there is no such task any more");
    }
    const auto updated = write_.update(other ? *other : own_, wish.changes);
    if (!updated) note(what, updated.error().message);
  }
  void grant(const DeleteWish& wish) {
    if (wish.task_id == own_.task.spec.id) {
      own_.task.state.deleted_at = write_.now;
      return;
    }
    auto other = load_task(write_.database, wish.task_id);
    if (!other) return note("deleteTask " + wish.task_id, "there is no such task any more");
    (void)write_.cancel(*other, true);
  }
  void grant(const MessageWish& wish) { write_.post(wish.message); }

  void note(const std::string& what, const std::string& why) {
    // The result has to stay readable for the server.
    constexpr std::size_t kMostNotes = 32 * 1024;
    if (bytes_ > kMostNotes) return;
    notes_.push_back(to_detail(what + " was skipped: " + why));
    bytes_ += notes_.back().size();
    if (bytes_ > kMostNotes) notes_.emplace_back("further wishes were skipped too");
  }

  LedgerWrite& write_;
  TaskRow& own_;
  std::vector<std::string> notes_;
  std::size_t bytes_ = 0;
};

/// Stores and reports kept output as far as there is room; returns how many bytes there was none for.
std::int64_t keep_output(LedgerWrite& write, const TaskRow& row, std::int64_t run,
                         const ChunkSource& output) {
  std::int64_t dropped = 0;
  if (!output) return dropped;
  while (auto chunk = output()) {
    if (!write.has_room_for_output(chunk->bytes.size())) {
      dropped += static_cast<std::int64_t>(chunk->bytes.size());
      continue;
    }
    write.database.execute(
        "INSERT INTO output (task, run, stream, offset, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
        {row.sequence, run, chunk->stream == OutputStream::standard_output ? 0 : 1, chunk->offset,
         storage::Blob{chunk->bytes}});
    write.stream.output_bytes += static_cast<std::int64_t>(chunk->bytes.size());
    if (write.is_former(row)) continue;
    write.report({0, OutputReport{row.task.spec.id, run, std::move(*chunk)}});
  }
  return dropped;
}

}  // namespace

Result<StartAnswer> Ledger::start(std::string_view id, bool outside) {
  return body_->write(commit_point::kRunStarted, [&](LedgerWrite& write) -> Result<StartAnswer> {
    auto row = load_task(write.database, id);
    if (!row || !write.is_startable(*row)) return StartAnswer{};
    if (row->task.spec.options.outlives_agent != outside) return StartAnswer{};
    if (const auto why_not = write.why_nothing_starts(); !why_not.empty())
      return StartAnswer{std::nullopt, std::string(why_not)};
    StartAnswer answer{write.begin_run(*row, body_->options().boot_id, body_->incarnation(), outside), ""};
    save_task(write.database, *row);
    return answer;
  });
}

void Ledger::Body::end_run(LedgerWrite& write, TaskRow& row, std::int64_t number, const RunOutcome& outcome,
                           const ChunkSource& output) {
  if (outcome.reason == reason::kInterrupted) write.database.commits(commit_point::kRunInterrupted);
  const std::int64_t dropped = keep_output(write, row, number, output);
  std::string result = dropped > 0 ? with_dropped(outcome.result, dropped) : outcome.result;
  if (outcome.status == RunStatus::complete && !outcome.wishes.empty()) {
    write.database.commits(commit_point::kWishesGranted);
    const auto notes = WishGranter(write, row).grant(outcome.wishes);
    if (!notes.empty()) result = with_notes(result, notes);
  }
  write.database.execute(
      "UPDATE runs SET status = ?3, reason = ?4, end_time = ?5, result = ?6 WHERE task = ?1 AND number = "
      "?2",
      {row.sequence, number, to_string(outcome.status), outcome.reason,
       Ending::time_of(outcome, row, write.now), result});
  row.task.state.result = std::move(result);
  Ending(write, row, fraction()).apply(outcome);
  EndedReport ended{row.task.spec.id, load_run(write.database, row, number), row.task.state};
  // The next occurrence asks at once: that is a step of its own.
  const bool asks = row.task.state.status == TaskStatus::awaiting_choice;
  if (asks) ended.state.status = TaskStatus::sent;
  write.report({0, std::move(ended)}, &row);
  write.database.execute("UPDATE runs SET reported = ?3 WHERE task = ?1 AND number = ?2",
                         {row.sequence, number, row.reported});
  asks ? write.save_changed(row) : save_task(write.database, row);
  if (row.recurs()) write.trim_runs(row, options_.keep_runs);
  write.trim_output(options_.output_budget);
  write.release_key(row.task.spec.options.concurrency_key);
  write.change.tasks.push_back(row.task.spec.id);
}

void Ledger::Body::pass_run(LedgerWrite& write, TaskRow& row, const RunOutcome& outcome) {
  write.database.commits(commit_point::kRunStarted);
  write.database.commits(commit_point::kRunEnded);
  const StartedRun run = write.begin_run(row, options_.boot_id, incarnation_, false);
  end_run(write, row, run.number, outcome, {});
  write.change.work = true;
  write.change.passed.push_back(
      {row.task.spec.id, run.number, row.task.spec.type, outcome.status, outcome.reason});
}

bool Ledger::Body::start_next(LedgerWrite& write, const Ledger::Ready& next) {
  constexpr std::int64_t kMost = 32;  // so many may be about to start, or need no slot
  if (!write.why_nothing_starts().empty()) return false;
  std::vector<std::string> ids;
  {
    auto statement = write.database.query(
        "SELECT id FROM tasks WHERE queue = 1 ORDER BY priority DESC, sequence LIMIT ?1", {kMost});
    while (statement.step()) ids.push_back(statement.text(0));
  }
  for (const std::string& id : ids) {
    auto row = load_task(write.database, id);
    if (!row || row->task.spec.options.outlives_agent || !write.is_startable(*row)) return false;
    Task task = row->task;
    task.spec.data = load_data(write.database, row->sequence);
    auto admitted = next(task);
    if (!admitted) return false;
    if (const auto* outcome = std::get_if<RunOutcome>(&*admitted)) {
      pass_run(write, *row, *outcome);
    } else if (auto readiness = std::get<Readiness>(*std::move(admitted))) {
      write.database.commits(commit_point::kRunStarted);
      write.change.begun.emplace_back(write.begin_run(*row, options_.boot_id, incarnation_, false),
                                      std::move(readiness));
      save_task(write.database, *row);
      return true;
    }
  }
  return false;
}

Result<Task> Ledger::end(std::string_view id, std::int64_t run_number, const RunOutcome& outcome,
                         const ChunkSource& output, const Ready& next) {
  return body_->write(commit_point::kRunEnded, [&](LedgerWrite& write) -> Result<Task> {
    auto row = load_task(write.database, id);
    if (!row) return unknown_task(id);
    if (row->task.state.status != TaskStatus::running || row->task.state.run_count != run_number) {
      return Error{ErrorCode::conflict, "run " + std::to_string(run_number) + " of task " + std::string(id) +
                                            " has ended already"};
    }
    body_->end_run(write, *row, run_number, outcome, output);
    // Where its slot has the next run already, nothing else can start for that.
    if (!next || !body_->start_next(write, next) || row->recurs()) write.change.work = true;
    return std::move(row->task);
  });
}

Result<std::vector<std::string>> Ledger::run_at_once(std::span<const std::string> ids,
                                                     const Compute& compute) {
  using Ids = std::vector<std::string>;
  return body_->write(commit_point::kRunEnded, [&](LedgerWrite& write) -> Result<Ids> {
    Ids left;
    const bool starts = write.why_nothing_starts().empty();
    for (const std::string& id : ids) {
      auto row = starts ? load_task(write.database, id) : std::nullopt;
      std::optional<RunOutcome> outcome;
      if (row && write.is_startable(*row) && !row->task.spec.options.outlives_agent) {
        Task task = row->task;
        task.spec.data = load_data(write.database, row->sequence);
        outcome = compute(task);
      }
      if (outcome && !write.outbox_is_full()) {
        body_->pass_run(write, *row, *outcome);
      } else {
        left.push_back(id);
      }
    }
    return left;
  });
}

Result<void> Ledger::refuse(std::string_view id, std::string_view reason, std::string_view detail) {
  return body_->write(commit_point::kTaskRefused, [&](LedgerWrite& write) -> Result<void> {
    auto row = load_task(write.database, id);
    if (!row || row->queue == Queue::none) return {};
    if (!row->recurs()) {
      write.end_without_run(*row, TaskStatus::failed, reason, detail);
    } else if (row->queue == Queue::ready) {
      occurrence_refused(write, *row, reason, detail);
    }
    return {};
  });
}

Result<void> Ledger::defer(std::string_view id, std::string_view reason, std::string_view detail,
                           DurationMilliseconds wait) {
  return body_->write(commit_point::kTaskDeferred, [&](LedgerWrite& write) -> Result<void> {
    auto row = load_task(write.database, id);
    if (!row || row->queue != Queue::ready) return {};
    TaskState& state = row->task.state;
    const bool is_news = state.reason != reason;
    state.reason = reason;
    state.detail = to_detail(detail);
    write.delay(*row, wait);
    is_news ? write.save_often_changed(*row) : save_task(write.database, *row);
    write.release_key(row->task.spec.options.concurrency_key);
    write.change.work = true;
    return {};
  });
}

Result<void> Ledger::progress(std::string_view id, std::int64_t run, std::string_view text) {
  return body_->write(commit_point::kProgressNoted, [&](LedgerWrite& write) -> Result<void> {
    auto row = load_task(write.database, id);
    if (!row || row->task.state.status != TaskStatus::running || row->task.state.run_count != run) return {};
    row->task.state.detail = to_detail(text);
    row->task.state.updated_at = std::max(write.now, row->task.state.updated_at + 1);
    write.save_often_changed(*row);
    return {};
  });
}

Result<void> Ledger::workers_changed(std::span<const std::string> types) {
  return body_->write(commit_point::kWorkersChanged, [&](LedgerWrite& write) -> Result<void> {
    for (const std::string& type : types) {
      const auto woken =
          write.database.execute("UPDATE tasks SET queue = 1 WHERE queue = 2 AND type = ?1", {type});
      if (woken > 0) write.change.work = true;
    }
    return {};
  });
}

Result<std::vector<OpenRun>> Ledger::open_runs() {
  return body_->read([&](storage::Database& database) -> Result<std::vector<OpenRun>> {
    std::vector<OpenRun> runs;
    auto statement = database.query(
        "SELECT tasks.id, runs.number, runs.run_id, runs.boot_id, tasks.rerun, tasks.max_output_bytes,"
        " runs.outside, tasks.cancel_requested_at, tasks.overlap, tasks.waiting FROM runs"
        " JOIN tasks ON tasks.sequence = runs.task WHERE runs.status = 'running' AND runs.incarnation <> ?1"
        " ORDER BY tasks.sequence",
        {body_->incarnation()});
    while (statement.step()) {
      runs.push_back({statement.text(0), statement.integer(1), statement.text(2), statement.text(3),
                      statement.integer(4) != 0 ? OnInterrupt::rerun : OnInterrupt::fail,
                      statement.integer(5), statement.integer(6) != 0,
                      statement.optional_integer(7).has_value(),
                      statement.text(8) == to_string(Overlap::cancel_previous) && statement.integer(9) > 0});
    }
    return runs;
  });
}

}  // namespace agenttask::agent
