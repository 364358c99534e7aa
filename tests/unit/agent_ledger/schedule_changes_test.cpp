#include <algorithm>

#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// What happens to a schedule that is changed, paused and resumed in any order, and to its questions.
namespace agenttask::agent {
namespace {

using namespace std::chrono_literals;

class ScheduleChanges : public LedgerFixture {
 protected:
  static TaskSpec every(std::chrono::milliseconds interval) {
    TaskSpec what = spec("report");
    what.schedule.update_interval = interval.count();
    return what;
  }
  TaskSpec asking(std::chrono::milliseconds window, const std::string& fallback = "") {
    TaskSpec what = every(60s);
    what.choices = {{"a", ""}, {"b", ""}};
    what.choice_expires_at = clock_.wall() + window.count();
    what.default_choice = fallback;
    return what;
  }
  bool is_due(const std::string& task) {
    for (bool more = true; more;) {
      const auto advanced = ledger_->advance_time(clock_.wall());
      EXPECT_TRUE(advanced);
      more = advanced && *advanced;
    }
    const auto ids = ready_ids();
    return std::find(ids.begin(), ids.end(), task) != ids.end();
  }
  void run(const std::string& task) {
    ASSERT_TRUE(is_due(task));
    end(task, start(task).number, success());
  }
  void change(const std::string& task, const std::string& schedule) {
    const auto updated = ledger_->update(task, R"({"schedule":)" + schedule + "}");
    ASSERT_TRUE(updated) << updated.error().message;
  }
  std::string in(std::chrono::milliseconds later) const {
    return std::to_string(clock_.wall() + later.count());
  }
  TaskStatus status(const std::string& task) { return get(task).state.status; }
};

TEST_F(ScheduleChanges, AQuestionStaysOpenForItsWholeWindowWhereverTheWallClockIs) {
  const std::string task = create(asking(30s, "b"));
  for (const auto jump : {0ms, -5ms, 5ms, -7'200'000ms, 12'345'678ms}) {
    ASSERT_EQ(status(task), TaskStatus::awaiting_choice);
    ASSERT_TRUE(ledger_->choose(task, "a", "user:ann"));
    run(task);
    clock_.set_wall(clock_.wall() + jump.count());
    EXPECT_FALSE(is_due(task));
    clock_.advance(60s);
    EXPECT_FALSE(is_due(task));
    EXPECT_EQ(status(task), TaskStatus::awaiting_choice) << "after a jump of " << jump.count();
    clock_.advance(29'900ms);
    EXPECT_FALSE(is_due(task));
    EXPECT_EQ(status(task), TaskStatus::awaiting_choice);
    clock_.advance(200ms);
    ASSERT_TRUE(is_due(task)) << "the default counts now";
    EXPECT_EQ(get(task).state.chosen->by, "default");
    run(task);
    clock_.advance(29'900ms);
    EXPECT_FALSE(is_due(task));
  }
}

TEST_F(ScheduleChanges, AnExtraRunAsksForAsLongAsAnyOther) {
  const std::string task = create(asking(3s, "b"));
  ASSERT_TRUE(ledger_->choose(task, "a", "user:ann"));
  run(task);
  clock_.advance(6s);
  ASSERT_TRUE(ledger_->run_now(task));
  EXPECT_FALSE(is_due(task));
  EXPECT_EQ(status(task), TaskStatus::awaiting_choice);
  clock_.advance(3s);
  EXPECT_TRUE(is_due(task));
}

TEST_F(ScheduleChanges, WhatRecurredAndRunsOnceNowAsksAnew) {
  const std::string task = create(asking(30s));
  ASSERT_TRUE(ledger_->choose(task, "a", "user:ann"));
  run(task);
  change(task, R"({"updateInterval":null})");
  EXPECT_FALSE(is_due(task));
  EXPECT_EQ(status(task), TaskStatus::awaiting_choice);
  EXPECT_FALSE(get(task).state.chosen.has_value());
}

TEST_F(ScheduleChanges, APausedTaskIsNotTriedAgain) {
  for (const bool recurs : {false, true}) {
    for (const auto reason : {reason::kExitStatus, reason::kInterrupted}) {
      TaskSpec what = recurs ? every(60s) : spec();
      what.options.retry = RetryPolicy{3, 0, 0};
      what.options.on_interrupt = OnInterrupt::rerun;
      const std::string task = create(what);
      ASSERT_TRUE(is_due(task));
      const auto started = start(task);
      ASSERT_TRUE(ledger_->pause(task));
      EXPECT_EQ(end(task, started.number, failure(reason)).state.reason, reason::kPaused);
      clock_.advance(10min);
      EXPECT_FALSE(is_due(task));
      ASSERT_TRUE(ledger_->resume(task));
      EXPECT_EQ(is_due(task), !recurs)
          << "one that runs once is tried again; a recurring one goes on with its grid";
    }
  }
}

TEST_F(ScheduleChanges, ARescheduleWhilePausedCountsWhenItIsResumed) {
  const std::string later = create(every(2s));
  run(later);
  ASSERT_TRUE(ledger_->pause(later));
  change(later, R"({"scheduledFor":)" + in(24h) + "}");
  ASSERT_TRUE(ledger_->resume(later));
  clock_.advance(23h);
  EXPECT_FALSE(is_due(later));
  clock_.advance(1h);
  EXPECT_TRUE(is_due(later));

  const std::string once = create(every(2s));
  run(once);
  change(once, R"({"updateInterval":null,"scheduledFor":)" + in(24h) + "}");
  ASSERT_TRUE(ledger_->pause(once));
  ASSERT_TRUE(ledger_->resume(once));
  clock_.advance(23h);
  EXPECT_FALSE(is_due(once));
  clock_.advance(1h);
  EXPECT_TRUE(is_due(once));
}

TEST_F(ScheduleChanges, ATaskThatStopsRecurringWhilePausedCanBeResumed) {
  const std::string task = create(every(2s));
  run(task);
  ASSERT_TRUE(ledger_->pause(task));
  change(task, R"({"updateInterval":null})");
  clock_.advance(1h);
  EXPECT_FALSE(is_due(task));
  ASSERT_TRUE(ledger_->resume(task));
  run(task);
  EXPECT_EQ(status(task), TaskStatus::complete);
}

TEST_F(ScheduleChanges, AnswersAndWishesToRunAreForWhatTheyHadSeen) {
  meet_server();
  TaskSpec what = asking(30s);
  deliver(task(id(1), what));
  ASSERT_TRUE(ledger_->choose(id(1), "a", "user:ann"));
  run(id(1));
  deliver(RunDirective{id(1), 1});
  ASSERT_EQ(status(id(1)), TaskStatus::awaiting_choice);
  ASSERT_TRUE(ledger_->choose(id(1), "a", "user:ann"));
  run(id(1));
  clock_.advance(60s);
  ASSERT_FALSE(is_due(id(1)));
  ASSERT_EQ(status(id(1)), TaskStatus::awaiting_choice);
  acknowledge_all();
  // The answer to the extra run's question comes late, and so does the same wish to run once more.
  deliver(ChooseDirective{id(1), {"b", "operator:bob", 1}, 0, 1}, RunDirective{id(1), 1});
  EXPECT_EQ(status(id(1)), TaskStatus::awaiting_choice);
  const auto refused = reports_of<RefusedReport>();
  ASSERT_EQ(refused.size(), 2U);
  EXPECT_EQ(refused[1].code, "conflict");
  deliver(ChooseDirective{id(1), {"b", "operator:bob", 1}, 2, 2});
  EXPECT_EQ(get(id(1)).state.chosen->by, "operator:bob");
}

/// The id of a server's nth request to run.
std::string request(int number) {
  std::string id = "018f7e3a-0000-7000-8000-000000000000";
  const std::string digits = std::to_string(number);
  return id.replace(id.size() - digits.size(), digits.size(), digits);
}

TEST_F(ScheduleChanges, ARequestToRunIsAnsweredOnceHoweverOftenTheTaskHasRunSince) {
  meet_server();
  deliver(task(id(1), every(5s)));
  run(id(1));
  const auto runs = [&] { return get(id(1)).state.run_count; };
  const auto refusals = [&] { return reports_of<RefusedReport>().size(); };
  // Asked for when the server knew of no run, or of one, while two more came by themselves.
  for (int occurrence = 0; occurrence < 2; ++occurrence) {
    clock_.advance(5s);
    run(id(1));
  }
  ASSERT_EQ(runs(), 3);
  deliver(RunDirective{id(1), 0, request(1)});
  run(id(1));
  deliver(RunDirective{id(1), 1, request(2)});
  run(id(1));
  EXPECT_EQ(runs(), 5);
  EXPECT_EQ(refusals(), 0U);
  // A server that was put back asks again: it is told, and nothing runs.
  deliver(RunDirective{id(1), 0, request(1)}, RunDirective{id(1), 9, request(2)});
  EXPECT_FALSE(is_due(id(1)));
  EXPECT_EQ(refusals(), 2U);
  EXPECT_EQ(runs(), 5);
  reopen();
  deliver(RunDirective{id(1), 9, request(2)});
  EXPECT_FALSE(is_due(id(1)));
  // One that was refused as it ran was answered, too: nobody expects it later.
  clock_.advance(5s);
  ASSERT_TRUE(is_due(id(1)));
  const auto under_way = start(id(1));
  deliver(RunDirective{id(1), 5, request(3)});
  end(id(1), under_way.number, success());
  const auto told = refusals();
  deliver(RunDirective{id(1), 6, request(3)});
  EXPECT_FALSE(is_due(id(1)));
  EXPECT_EQ(refusals(), told + 1);
  // An older server names no request, and a request is of its task.
  deliver(RunDirective{id(1), 5});
  EXPECT_FALSE(is_due(id(1)));
  deliver(task(id(2), every(5s)));
  run(id(2));
  deliver(RunDirective{id(2), 0, request(2)});
  EXPECT_TRUE(is_due(id(2)));
}

TEST_F(ScheduleChanges, RequestsToRunAreRememberedWithinBounds) {
  constexpr int kRemembered = 100;
  meet_server();
  deliver(task(id(1), every(1h)));
  run(id(1));
  for (int number = 2; number <= kRemembered + 2; ++number) {
    deliver(RunDirective{id(1), 0, request(number)});
    run(id(1));
  }
  const auto runs = get(id(1)).state.run_count;
  ASSERT_EQ(runs, kRemembered + 2);
  // The oldest is forgotten, and one older than all that are known is perhaps that one.
  for (const int number : {1, 2, 3}) deliver(RunDirective{id(1), 0, request(number)});
  EXPECT_FALSE(is_due(id(1)));
  // Not where it has not run since it was asked for, and never what is newer.
  deliver(RunDirective{id(1), runs, request(1)});
  run(id(1));
  deliver(RunDirective{id(1), 0, request(kRemembered + 3)});
  run(id(1));
  EXPECT_EQ(get(id(1)).state.run_count, runs + 2);
}

TEST_F(ScheduleChanges, ASleepIsASleepWhoeverLooksFirst) {
  const std::string task = create(every(60s));
  ASSERT_TRUE(is_due(task));
  const auto started = start(task);
  clock_.sleep(630s);
  end(task, started.number, success());  // before the scheduler has looked
  EXPECT_TRUE(is_due(task)) << "one run for what was due meanwhile";
}

TEST_F(ScheduleChanges, OutputOfRecurringTasksIsWithinTheBudgetToo) {
  options_.output_budget = 10'000;
  reopen();
  meet_server();
  deliver(task(id(1), every(1s)));
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(is_due(id(1)));
    end(id(1), start(id(1)).number, success(),
        chunks({{OutputStream::standard_output, 0, std::string(4000, 'x')}}));
    acknowledge_all();
    clock_.advance(1s);
  }
  EXPECT_TRUE(ledger_->kept_output(id(1), 1)->empty());
  EXPECT_FALSE(ledger_->kept_output(id(1), 10)->empty());
  EXPECT_FALSE(ledger_->kept_output(id(1), 9)->empty());
}

TEST_F(ScheduleChanges, ProgressDoesNotFillTheOutboxOfADeviceThatIsOffline) {
  meet_server();
  deliver(task(id(1)));
  const auto started = start(id(1));
  acknowledge_all();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(ledger_->progress(id(1), started.number, std::to_string(i)));
  EXPECT_EQ(reports().size(), 1U);
  EXPECT_EQ(get(id(1)).state.detail, "99");
  acknowledge_all();
  ASSERT_EQ(reports().size(), 1U) << "the newest word follows the one that was heard";
  EXPECT_EQ(reports_of<ChangedReport>().back().task.state.detail, "99");
  acknowledge_all();
  EXPECT_TRUE(reports().empty());
  ASSERT_TRUE(ledger_->progress(id(1), started.number, "100"));
  EXPECT_EQ(reports_of<ChangedReport>().back().task.state.detail, "100");
}

TEST_F(ScheduleChanges, WhatIsReplacedAgainAndAgainIsToldOnce) {
  meet_server();
  TaskSpec what = every(1s);
  what.schedule.overlap = Overlap::cancel_previous;
  deliver(task(id(1), what));
  acknowledge_all();
  for (int i = 0; i < 1000; ++i) {
    clock_.advance(1s);
    ASSERT_TRUE(is_due(id(1)));
  }
  EXPECT_LE(reports().size(), 2U);
  acknowledge_all();
  acknowledge_all();
  EXPECT_TRUE(reports().empty());
  EXPECT_EQ(get(id(1)).state.missed_count, 1000);
}

TEST_F(ScheduleChanges, QuestionsThatNobodyAnswersAreToldInTheEnd) {
  meet_server();
  deliver(task(id(1), asking(1s)));
  acknowledge_all();
  for (int i = 0; i < 100; ++i) {
    clock_.advance(60s);
    (void)is_due(id(1));
  }
  clock_.advance(2s);
  (void)is_due(id(1));
  EXPECT_LE(reports().size(), 2U);
  ASSERT_EQ(status(id(1)), TaskStatus::sent);
  acknowledge_all();
  ASSERT_EQ(reports_of<ChangedReport>().size(), 1U);
  EXPECT_EQ(reports_of<ChangedReport>().back().task.state.status, TaskStatus::sent);
  EXPECT_EQ(reports_of<ChangedReport>().back().task.state.missed_count, get(id(1)).state.missed_count);
}

TEST_F(ScheduleChanges, ACheckThatSaysNoAgainIsNoNews) {
  meet_server();
  deliver(task(id(1)));
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(is_due(id(1)));
    ASSERT_TRUE(ledger_->defer(id(1), reason::kValidateFalse, "not yet", 1000));
    EXPECT_EQ(reports_of<ChangedReport>().size(), i == 0 ? 1U : 0U) << i;
    acknowledge_all();
    clock_.advance(1s);
  }
}

TEST_F(ScheduleChanges, WhatEndedMeanwhileDoesNotKeepOthersUntold) {
  meet_server();
  for (int i = 1; i <= 501; ++i) deliver(task(id(i), every(60s)));
  for (int i = 1; i <= 501; ++i) {
    ASSERT_TRUE(is_due(id(i)));
    // Twice without an answer: the second waits for it.
    ASSERT_TRUE(ledger_->refuse(id(i), reason::kRejected, "no"));
  }
  clock_.advance(60s);
  for (int i = 1; i <= 501; ++i) {
    ASSERT_TRUE(is_due(id(i)));
    ASSERT_TRUE(ledger_->refuse(id(i), reason::kRejected, "still no"));
  }
  for (int i = 1; i <= 500; ++i) ASSERT_TRUE(ledger_->cancel(id(i)));
  acknowledge_all();
  const auto told = reports_of<ChangedReport>();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told.front().task.spec.id, id(501));
  EXPECT_EQ(told.front().task.state.missed_count, 2);
}

TEST_F(ScheduleChanges, ARefusalIsOfOneOccurrenceNotOfTheSchedule) {
  meet_server();
  deliver(task(id(1), every(60s)));
  ASSERT_TRUE(is_due(id(1)));
  ASSERT_TRUE(ledger_->refuse(id(1), reason::kRejected, "the policy allows no reports"));
  EXPECT_EQ(status(id(1)), TaskStatus::sent);
  EXPECT_EQ(get(id(1)).state.reason, reason::kNotDue);
  EXPECT_NE(get(id(1)).state.detail.find("allows no reports"), std::string::npos);
  EXPECT_EQ(get(id(1)).state.missed_count, 1);
  EXPECT_EQ(get(id(1)).state.run_count, 0);
  EXPECT_FALSE(is_due(id(1)));
  clock_.advance(60s);
  run(id(1));
  EXPECT_EQ(get(id(1)).state.missed_count, 1);
  EXPECT_EQ(get(id(1)).state.run_count, 1);
  // What runs once ends with a refusal, as ever.
  deliver(task(id(2)));
  ASSERT_TRUE(ledger_->refuse(id(2), reason::kRejected, "no"));
  EXPECT_EQ(status(id(2)), TaskStatus::failed);
}

TEST_F(ScheduleChanges, NotesLeaveAResultReadable) {
  meet_server();
  deliver(task(id(1)));
  RunOutcome outcome = success();
  outcome.result = R"({"success":true,"data":{"x":")" + std::string(limits::kDataBytes - 100, 'x') + R"("}})";
  for (int i = 0; i < 1000; ++i) outcome.wishes.emplace_back(DeleteWish{make_uuid(i)});
  end(id(1), start(id(1)).number, outcome);
  const auto ended = reports_of<EndedReport>();
  ASSERT_EQ(ended.size(), 1U) << "the server can read the end";
  EXPECT_EQ(ended[0].state.status, TaskStatus::complete);
}

}  // namespace
}  // namespace agenttask::agent
