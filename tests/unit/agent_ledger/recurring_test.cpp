#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// Schedules, by the injected clock: acceptance C2, C3, D1 to D5, H3.
namespace agenttask::agent {
namespace {

using namespace std::chrono_literals;

class Recurring : public LedgerFixture {
 protected:
  static TaskSpec every(std::chrono::milliseconds interval, Overlap overlap = Overlap::skip,
                        CatchUp catch_up = CatchUp::once) {
    TaskSpec what = spec("report");
    what.schedule = {std::nullopt, interval.count(), 0, overlap, catch_up};
    return what;
  }
  /// What the scheduler would do now. Ids that are ready.
  std::vector<std::string> look() {
    for (bool more = true; more;) {
      const auto advanced = ledger_->advance_time(clock_.wall());
      EXPECT_TRUE(advanced) << advanced.error().message;
      more = advanced && *advanced;
    }
    return ready_ids();
  }
  bool is_due(const std::string& task) {
    const auto ids = look();
    return std::find(ids.begin(), ids.end(), task) != ids.end();
  }
  /// Runs it if it is due; the number of its occurrence.
  std::optional<std::int64_t> run(const std::string& task, std::chrono::milliseconds takes = 0ms) {
    if (!is_due(task)) return std::nullopt;
    const auto started = start(task);
    clock_.advance(takes);
    end(task, started.number, success());
    return started.task.state.occurrence;
  }
};

TEST_F(Recurring, RunsOnAFixedGridWithoutDrift) {  // D1
  const UnixMilliseconds began = clock_.wall();
  const std::string task = create(every(10s));
  for (std::int64_t occurrence = 1; occurrence <= 1000; ++occurrence) {
    ASSERT_EQ(run(task, 3s), occurrence);
    const Task between = get(task);
    ASSERT_EQ(between.state.status, TaskStatus::sent);
    ASSERT_EQ(between.state.reason, reason::kNotDue);
    ASSERT_EQ(between.state.next_run_at, began + occurrence * 10'000);
    clock_.advance(6999ms);
    ASSERT_FALSE(is_due(task));
    clock_.advance(1ms);
  }
  EXPECT_EQ(get(task).state.run_count, 1000);
  EXPECT_EQ(get(task).state.missed_count, 0);
}

TEST_F(Recurring, SkipsWhatOverlapsAndCountsIt) {  // D2
  const std::string task = create(every(1s));
  ASSERT_EQ(run(task, 3500ms), 1);
  EXPECT_EQ(get(task).state.missed_count, 3);
  EXPECT_FALSE(is_due(task));
  clock_.advance(500ms);
  EXPECT_EQ(run(task), 5);
}

TEST_F(Recurring, QueuesWhatOverlaps) {  // D2
  const std::string task = create(every(1s, Overlap::queue));
  ASSERT_EQ(run(task, 3500ms), 1);
  EXPECT_EQ(run(task), 2);
  EXPECT_EQ(run(task), 3);
  EXPECT_EQ(run(task), 4);
  EXPECT_EQ(run(task), std::nullopt);
  EXPECT_EQ(get(task).state.missed_count, 0);
  clock_.advance(500ms);
  EXPECT_EQ(run(task), 5);
}

TEST_F(Recurring, KeepsTheNewestHundredOfAQueue) {
  const std::string task = create(every(1s, Overlap::queue));
  ASSERT_EQ(run(task, 150s), 1);
  EXPECT_EQ(get(task).state.missed_count, 50);
  EXPECT_EQ(get(task).state.occurrence, 52);
}

TEST_F(Recurring, StopsThePreviousRunForTheNext) {  // D2
  const std::string task = create(every(1s, Overlap::cancel_previous));
  ASSERT_TRUE(is_due(task));
  const auto first = start(task);
  clock_.advance(999ms);
  look();
  EXPECT_TRUE(
      std::all_of(changes_.begin(), changes_.end(), [](const auto& c) { return c.replaced.empty(); }));
  clock_.advance(1ms);
  look();
  EXPECT_EQ(changes_.back().replaced, std::vector<std::string>{task});
  end(task, first.number, {RunStatus::cancelled, "", "replaced", R"({"success":false})"});
  EXPECT_EQ(run(task), 2);
  EXPECT_EQ(get(task).state.missed_count, 0);
  EXPECT_EQ(ledger_->runs(task)->front().status, RunStatus::cancelled);
}

TEST_F(Recurring, ReplacesAnOccurrenceThatNeverBegan) {
  const std::string task = create(every(1s, Overlap::cancel_previous));
  ASSERT_TRUE(is_due(task));
  clock_.advance(1s);
  EXPECT_EQ(run(task), 2);
  EXPECT_EQ(get(task).state.missed_count, 1);
}

TEST_F(Recurring, CatchesUpAfterDowntimeAsItWasAsked) {  // D3
  const std::string once = create(every(60s, Overlap::skip, CatchUp::once));
  const std::string all = create(every(60s, Overlap::skip, CatchUp::all));
  const std::string skip = create(every(60s, Overlap::skip, CatchUp::skip));
  for (const auto& task : {once, all, skip}) ASSERT_EQ(run(task), 1);
  ledger_.reset();
  clock_.advance(630s);
  reopen();
  EXPECT_EQ(run(once), 11);
  EXPECT_EQ(run(once), std::nullopt);
  EXPECT_EQ(get(once).state.missed_count, 9);
  for (std::int64_t occurrence = 2; occurrence <= 11; ++occurrence) EXPECT_EQ(run(all), occurrence);
  EXPECT_EQ(run(all), std::nullopt);
  EXPECT_EQ(get(all).state.missed_count, 0);
  EXPECT_EQ(run(skip), std::nullopt);
  EXPECT_EQ(get(skip).state.missed_count, 10);
  clock_.advance(30s);
  for (const auto& task : {once, all, skip}) EXPECT_EQ(run(task), 12) << task;
}

TEST_F(Recurring, CatchesUpAfterAReboot) {
  const std::string task = create(every(60s));
  ASSERT_EQ(run(task), 1);
  ledger_.reset();
  clock_.reboot(90s, 5s);
  options_.boot_id = "boot-2";
  auto opened = Ledger::open(folder_.path() / "ledger.db", clock_, options_);
  ASSERT_TRUE(opened);
  ledger_ = std::move(*opened);
  EXPECT_EQ(run(task), 2);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.advance(29s);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.advance(1s);
  EXPECT_EQ(run(task), 3);
}

TEST_F(Recurring, IsNeverFurtherAwayThanItsInterval) {
  const std::string task = create(every(60s));
  ASSERT_EQ(run(task), 1);
  ledger_.reset();
  // A machine whose clock begins in the past.
  clock_.reboot(-std::chrono::hours(24 * 365 * 20) - 20s, 5s);
  options_.boot_id = "boot-2";
  auto opened = Ledger::open(folder_.path() / "ledger.db", clock_, options_);
  ASSERT_TRUE(opened);
  ledger_ = std::move(*opened);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.advance(20s);
  EXPECT_EQ(run(task), 2);
}

TEST_F(Recurring, CatchesUpAfterASleepOfTheMachine) {
  const std::string task = create(every(60s, Overlap::skip, CatchUp::skip));
  ASSERT_EQ(run(task), 1);
  clock_.sleep(630s);
  EXPECT_EQ(run(task), std::nullopt);
  EXPECT_EQ(get(task).state.missed_count, 10);
  clock_.advance(30s);
  EXPECT_EQ(run(task), 12);
}

TEST_F(Recurring, DoesNotFollowAWallClockThatJumps) {  // H3
  const std::string task = create(every(60s));
  ASSERT_EQ(run(task), 1);
  for (const auto jump : {2h, -2h, 10 * 365 * 24h, -10 * 365 * 24h}) {
    clock_.set_wall(clock_.wall() + std::chrono::milliseconds(jump).count());
    EXPECT_EQ(run(task), std::nullopt);
    EXPECT_NEAR(static_cast<double>(*get(task).state.next_run_at),
                static_cast<double>(clock_.wall() + 60'000), 1);
    clock_.advance(59'999ms);
    EXPECT_EQ(run(task), std::nullopt);
    clock_.advance(1ms);
    EXPECT_NE(run(task), std::nullopt);
    EXPECT_EQ(get(task).state.missed_count, 0);
  }
}

TEST_F(Recurring, BeginsAtItsTime) {
  TaskSpec what = every(60s);
  what.schedule.scheduled_for = clock_.wall() + 3'600'000;
  const std::string task = create(what);
  EXPECT_EQ(get(task).state.next_run_at, clock_.wall() + 3'600'000);
  clock_.advance(3'599'999ms);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.advance(1ms);
  EXPECT_EQ(run(task, 1s), 1);
  EXPECT_EQ(get(task).state.next_run_at, clock_.wall() + 59'000);
}

TEST_F(Recurring, WithATimeInThePastRunsAtOnceAndKeepsThatGrid) {
  TaskSpec what = every(60s);
  what.schedule.scheduled_for = clock_.wall() - 150'000;
  const std::string task = create(what);
  EXPECT_EQ(run(task), 1);
  EXPECT_EQ(get(task).state.missed_count, 0);
  EXPECT_EQ(get(task).state.next_run_at, clock_.wall() + 30'000);
}

TEST_F(Recurring, BeginsOnceWhenTheClockJumpsOverItsTime) {
  TaskSpec what = every(60s, Overlap::queue, CatchUp::all);
  what.schedule.scheduled_for = clock_.wall() + 600'000;
  const std::string task = create(what);
  clock_.advance(20s);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.set_wall(clock_.wall() + 7'200'000);
  EXPECT_EQ(run(task), 1);
  EXPECT_EQ(run(task), std::nullopt);
}

TEST_F(Recurring, AFailingRunLeavesTheScheduleAlive) {  // D4
  const std::string task = create(every(60s));
  ASSERT_TRUE(is_due(task));
  const auto ended = end(task, start(task).number, failure(reason::kWorkerError));
  EXPECT_EQ(ended.state.status, TaskStatus::sent);
  EXPECT_FALSE(ended.state.end_time.has_value());
  clock_.advance(60s);
  EXPECT_EQ(run(task), 2);
  EXPECT_EQ(ledger_->runs(task)->front().reason, reason::kWorkerError);
}

TEST_F(Recurring, RetriesWithinOneOccurrence) {
  TaskSpec what = every(60s);
  what.options.retry = RetryPolicy{2, 1000, 1000};
  const std::string task = create(what);
  for (std::int64_t occurrence = 1; occurrence <= 3; ++occurrence) {
    ASSERT_TRUE(is_due(task));
    auto ended = end(task, start(task).number, failure(reason::kExitStatus));
    EXPECT_EQ(ended.state.reason, reason::kRetryBackoff);
    clock_.advance(2s);
    ASSERT_TRUE(is_due(task));
    EXPECT_EQ(get(task).state.occurrence, occurrence);
    ended = end(task, start(task).number, failure(reason::kExitStatus));
    EXPECT_EQ(ended.state.reason, reason::kNotDue);
    clock_.advance(58s);
  }
}

TEST_F(Recurring, PausedDuringARunItEndsAndNoMoreFollow) {  // D4
  const std::string task = create(every(60s));
  ASSERT_TRUE(is_due(task));
  const auto started = start(task);
  EXPECT_TRUE(ledger_->pause(task)->state.paused);
  EXPECT_EQ(get(task).state.status, TaskStatus::running);
  EXPECT_EQ(end(task, started.number, success()).state.reason, reason::kPaused);
  clock_.advance(10min);
  EXPECT_EQ(run(task), std::nullopt);
  reopen();
  EXPECT_EQ(run(task), std::nullopt);
  // Resumed: the next point of the grid, no burst, and nothing counts as missed.
  clock_.advance(30s);
  const auto resumed = ledger_->resume(task);
  EXPECT_FALSE(resumed->state.paused);
  EXPECT_EQ(resumed->state.next_run_at, clock_.wall() + 30'000);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.advance(30s);
  EXPECT_EQ(run(task), 12);
  EXPECT_EQ(run(task), std::nullopt);
  EXPECT_EQ(get(task).state.missed_count, 0);
}

TEST_F(Recurring, RunNowIsOneExtraOnTheSameGrid) {  // D4
  const std::string task = create(every(60s));
  ASSERT_EQ(run(task), 1);
  const auto next = get(task).state.next_run_at;
  clock_.advance(10s);
  ASSERT_TRUE(ledger_->run_now(task));
  EXPECT_EQ(run(task, 1s), 0);
  EXPECT_EQ(get(task).state.next_run_at, next);
  EXPECT_EQ(run(task), std::nullopt);
  clock_.advance(49s);
  EXPECT_EQ(run(task), 2);
  // Also while it is paused, and it stays so.
  ASSERT_TRUE(ledger_->pause(task));
  ASSERT_TRUE(ledger_->run_now(task));
  EXPECT_EQ(run(task), 0);
  EXPECT_EQ(get(task).state.reason, reason::kPaused);
  // And before its first time.
  TaskSpec later = every(60s);
  later.schedule.scheduled_for = clock_.wall() + 600'000;
  const std::string waits = create(later);
  ASSERT_TRUE(ledger_->run_now(waits));
  EXPECT_EQ(run(waits), 0);
  EXPECT_EQ(get(waits).state.next_run_at, later.schedule.scheduled_for);
}

TEST_F(Recurring, WhatIsDueWhilePausedDoesNotCount) {
  for (const Overlap overlap : {Overlap::skip, Overlap::queue, Overlap::cancel_previous}) {
    const std::string task = create(every(60s, overlap));
    ASSERT_EQ(run(task), 1);
    ASSERT_TRUE(ledger_->pause(task));
    clock_.advance(10min);
    ASSERT_TRUE(ledger_->run_now(task));
    EXPECT_EQ(run(task, 3min), 0) << "an extra run counts none of it either";
    EXPECT_EQ(run(task), std::nullopt);
    EXPECT_EQ(get(task).state.missed_count, 0);
    clock_.advance(30s);
    ASSERT_TRUE(ledger_->resume(task));
    EXPECT_EQ(run(task), std::nullopt);
    clock_.advance(30s);
    EXPECT_EQ(run(task), 15);
    EXPECT_EQ(get(task).state.missed_count, 0);
    ASSERT_TRUE(ledger_->cancel(task));
  }
}

TEST_F(Recurring, WhatWasDueBeforeAPauseCountsAsMissed) {
  const std::string task = create(every(60s, Overlap::queue));
  ASSERT_TRUE(is_due(task));
  const auto started = start(task);
  clock_.advance(150s);
  ASSERT_TRUE(ledger_->pause(task));
  clock_.advance(10min);
  end(task, started.number, success());
  EXPECT_EQ(get(task).state.missed_count, 2) << "two came before the pause, ten after it";
  EXPECT_EQ(run(task), std::nullopt);
}

TEST_F(Recurring, CancelledOrDeletedWhileRunningIsNotScheduledAgain) {  // D5
  for (const bool deleted : {false, true}) {
    const std::string task = create(every(60s));
    ASSERT_TRUE(is_due(task));
    const auto started = start(task);
    const auto asked = deleted ? ledger_->remove(task) : ledger_->cancel(task);
    EXPECT_TRUE(asked->stopping);
    const auto ended = end(task, started.number, success());
    EXPECT_EQ(ended.state.status, TaskStatus::cancelled);
    EXPECT_EQ(ledger_->runs(task)->front().status, RunStatus::complete);
    clock_.advance(10min);
    EXPECT_EQ(run(task), std::nullopt);
  }
}

TEST_F(Recurring, AnInterruptedRunIsOverAndTheScheduleGoesOn) {
  const std::string task = create(every(60s));
  ASSERT_TRUE(is_due(task));
  const auto started = start(task);
  ledger_.reset();
  clock_.advance(600s);
  reopen();
  const auto ended = end(task, started.number, failure(reason::kInterrupted));
  EXPECT_EQ(ledger_->runs(task)->front().reason, reason::kInterrupted);
  EXPECT_EQ(ended.state.status, TaskStatus::sent);
  EXPECT_EQ(run(task), 11) << "one run for the ten that were due meanwhile";
  EXPECT_EQ(run(task), std::nullopt);
}

TEST_F(Recurring, AnotherIntervalCountsFromNowOn) {
  const std::string task = create(every(60s));
  ASSERT_EQ(run(task), 1);
  clock_.advance(10s);
  ASSERT_TRUE(ledger_->update(task, R"({"schedule":{"updateInterval":15000}})"));
  EXPECT_EQ(run(task), std::nullopt) << "an update is no reason to run";
  clock_.advance(5s);
  EXPECT_EQ(run(task), 2);
  clock_.advance(15s);
  EXPECT_EQ(run(task), 3);
}

TEST_F(Recurring, ADeferredTaskFollowsItsNewTimeOnly) {  // C3
  TaskSpec what = spec();
  what.schedule.scheduled_for = clock_.wall() + 10'000;
  const std::string task = create(what);
  ASSERT_TRUE(ledger_->update(
      task, R"({"schedule":{"scheduledFor":)" + std::to_string(clock_.wall() + 60'000) + "}}"));
  clock_.advance(59'999ms);
  EXPECT_FALSE(is_due(task));
  clock_.advance(1ms);
  EXPECT_TRUE(is_due(task));
  const std::string at_once = create(what);
  ASSERT_TRUE(ledger_->update(at_once, R"({"schedule":{"scheduledFor":null}})"));
  EXPECT_TRUE(is_due(at_once));
}

TEST_F(Recurring, ADeferredTaskCanBePausedAndRunNow) {
  TaskSpec what = spec();
  what.schedule.scheduled_for = clock_.wall() + 10'000;
  const std::string paused = create(what);
  const std::string now = create(what);
  ASSERT_TRUE(ledger_->pause(paused));
  ASSERT_TRUE(ledger_->run_now(now));
  EXPECT_TRUE(is_due(now));
  clock_.advance(1h);
  EXPECT_FALSE(is_due(paused));
  EXPECT_EQ(get(paused).state.reason, reason::kPaused);
  ASSERT_TRUE(ledger_->resume(paused));
  EXPECT_TRUE(is_due(paused));
}

TEST_F(Recurring, JitterMovesTheWholeGrid) {
  TaskSpec what = every(60s);
  what.schedule.jitter = 30'000;
  const std::string task = create(what);
  const Task waits = get(task);
  const DurationMilliseconds offset = waits.state.next_run_at.value_or(clock_.wall()) - clock_.wall();
  EXPECT_GE(offset, 0);
  EXPECT_LE(offset, 30'000);
  clock_.advance(std::chrono::milliseconds(offset));
  EXPECT_EQ(run(task), 1);
  EXPECT_EQ(get(task).state.next_run_at, clock_.wall() + 60'000);
}

TEST_F(Recurring, EndsWhenItExpires) {
  TaskSpec what = every(60s);
  what.options.expires_at = clock_.wall() + 90'000;
  const std::string task = create(what);
  ASSERT_EQ(run(task), 1);
  clock_.advance(60s);
  ASSERT_EQ(run(task), 2);
  clock_.advance(30s);
  EXPECT_EQ(run(task), std::nullopt);
  EXPECT_EQ(get(task).state.status, TaskStatus::failed);
  EXPECT_EQ(get(task).state.reason, reason::kExpired);
}

TEST_F(Recurring, TheServerHearsOfEachOccurrenceAndCanSteerIt) {
  meet_server();
  deliver(task(id(1), every(60s)));
  ASSERT_EQ(run(id(1)), 1);
  auto ended = reports_of<EndedReport>();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].state.status, TaskStatus::sent);
  EXPECT_EQ(ended[0].state.next_run_at, clock_.wall() + 60'000);
  EXPECT_EQ(ended[0].run->occurrence, 1);
  EXPECT_EQ(reports_of<StartedReport>()[0].occurrence, 1);
  acknowledge_all();
  deliver(PauseDirective{id(1)});
  EXPECT_TRUE(reports_of<ChangedReport>().back().task.state.paused);
  deliver(PauseDirective{id(1)});
  EXPECT_EQ(reports_of<ChangedReport>().size(), 1U) << "it is paused already";
  deliver(ResumeDirective{id(1)}, RunDirective{id(1)});
  EXPECT_EQ(run(id(1)), 0);
  deliver(CancelDirective{id(1)}, RunDirective{id(1)}, PauseDirective{id(2)});
  const auto refused = reports_of<RefusedReport>();
  ASSERT_EQ(refused.size(), 2U);
  EXPECT_EQ(refused[0].code, "ended");
  EXPECT_EQ(refused[1].code, "not-found");
}

TEST_F(Recurring, KeepsTheLastRuns) {
  options_.keep_runs = 5;
  reopen();
  meet_server();
  deliver(task(id(1), every(1s)));
  for (int i = 0; i < 20; ++i) {
    ASSERT_NE(run(id(1)), std::nullopt);
    clock_.advance(1s);
  }
  EXPECT_EQ(ledger_->runs(id(1))->size(), 20U) << "the server has none of them yet";
  acknowledge_all();
  ASSERT_NE(run(id(1)), std::nullopt);
  const auto runs = *ledger_->runs(id(1));
  ASSERT_EQ(runs.size(), 5U);
  EXPECT_EQ(runs.front().number, 17);
}

TEST_F(Recurring, NothingIsLookedAtBeforeSomethingIsDue) {
  for (int i = 0; i < 100; ++i) {
    TaskSpec what = every(std::chrono::hours(1 + i));
    what.schedule.scheduled_for = clock_.wall() + 1'800'000;
    create(what);
  }
  look();
  auto times = ledger_->times("");
  EXPECT_EQ(times->due, clock_.wall() + 1'800'000);
  EXPECT_FALSE(times->delay_ends.has_value());
  clock_.advance(30min);
  for (const auto& task : look()) end(task, start(task).number, success());
  times = ledger_->times("");
  EXPECT_FALSE(times->due.has_value());
  EXPECT_EQ(times->delay_ends, clock_.since_boot() + 3'600'000);
}

}  // namespace
}  // namespace agenttask::agent
