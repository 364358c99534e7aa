#include <algorithm>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

class LedgerRunning : public LedgerFixture {
 protected:
  LedgerRunning() { meet_server(); }
  std::string create_with(const TaskOptions& options) {
    TaskSpec what = spec();
    what.options = options;
    return create(what);
  }
  void pass_time(std::chrono::milliseconds by) {
    clock_.advance(by);
    ASSERT_TRUE(ledger_->advance_time(clock_.wall()));
  }
};

TEST_F(LedgerRunning, AStartIsOnDiskAndReported) {
  const std::string id = create();
  const auto run = start(id);
  EXPECT_EQ(1, run.number);
  EXPECT_TRUE(is_uuid(run.run_id));
  EXPECT_EQ(R"({"message":"hello"})", run.task.spec.data);
  EXPECT_EQ(1, reports_of<StartedReport>().at(0).run);
  EXPECT_FALSE(ledger_->start(id)->run) << "once";
  EXPECT_TRUE(ledger_->open_runs()->empty()) << "this incarnation's own run is under way";
  reopen();
  const auto open = *ledger_->open_runs();
  ASSERT_EQ(1U, open.size());
  EXPECT_EQ(run.run_id, open[0].run_id);
  EXPECT_EQ("boot-1", open[0].boot_id);
  EXPECT_FALSE(ledger_->start(id)->run);
  EXPECT_EQ(TaskStatus::failed, end(id, 1, failure(reason::kInterrupted)).state.status);
  EXPECT_EQ(reason::kInterrupted, get(id).state.reason);
  EXPECT_TRUE(ledger_->open_runs()->empty());
}

TEST_F(LedgerRunning, ARunOutsideTheAgentIsKnownAsSuch) {
  TaskSpec what = spec();
  what.type = "command";
  what.data = R"({"cmd":"true"})";
  what.options.outlives_agent = true;
  const std::string id = create(what);
  EXPECT_FALSE(ledger_->start(id)->run) << "it was made ready for the other kind of run";
  const auto started = ledger_->start(id, true);
  ASSERT_TRUE(started->run);
  EXPECT_TRUE(started->run->task.spec.options.outlives_agent);
  const auto began = clock_.wall();
  ASSERT_TRUE(ledger_->update(id, R"({"options":{"outlivesAgent":false}})"));
  ASSERT_TRUE(ledger_->cancel(id));
  reopen();
  const auto open = *ledger_->open_runs();
  ASSERT_EQ(1U, open.size());
  EXPECT_TRUE(open[0].outside) << "a run keeps what it started with";
  EXPECT_TRUE(open[0].cancelled);
  EXPECT_FALSE(open[0].replaced);
  // It ended while nobody was there to hear it.
  clock_.advance(std::chrono::seconds(10));
  RunOutcome outcome = success();
  outcome.ended_at = began + 4000;
  EXPECT_EQ(began + 4000, end(id, 1, outcome).state.end_time);
  EXPECT_EQ(began + 4000, ledger_->runs(id)->at(0).end_time);
}

TEST_F(LedgerRunning, AnEndIsNeitherBeforeItsStartNorToCome) {
  for (const DurationMilliseconds off : {-86'400'000, 86'400'000}) {
    const std::string id = create();
    (void)start(id);
    const auto began = clock_.wall();
    clock_.advance(std::chrono::seconds(1));
    RunOutcome outcome = success();
    outcome.ended_at = began + off;
    EXPECT_EQ(off < 0 ? began : began + 1000, end(id, 1, outcome).state.end_time);
  }
}

TEST_F(LedgerRunning, AnEndIsOneTransactionWithOutputAndReports) {
  const std::string id = create();
  const auto run = start(id);
  clock_.advance(std::chrono::seconds(3));
  const std::vector<OutputChunk> kept = {
      {OutputStream::standard_output, 0, std::string(limits::kOutputChunkBytes, 'x')},
      {OutputStream::standard_output, 900'000, "tail"},
      {OutputStream::standard_error, 0, "\xff\xfe"}};
  const Task task = end(id, run.number, success(), chunks(kept));
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ(clock_.wall(), task.state.end_time);
  EXPECT_EQ(1, task.state.run_count);
  EXPECT_EQ(kept, *ledger_->kept_output(id, 1));
  EXPECT_EQ(std::vector{kept[1]}, *ledger_->kept_output(id, 1, 1, 1));
  const auto runs = *ledger_->runs(id);
  ASSERT_EQ(1U, runs.size());
  EXPECT_EQ(RunStatus::complete, runs[0].status);
  EXPECT_EQ(clock_.wall(), runs[0].end_time);
  const auto all = reports();
  const auto* last = std::get_if<EndedReport>(&all.back().body);
  ASSERT_NE(nullptr, last) << "the end follows all of its output";
  EXPECT_EQ(runs[0], *last->run);
  EXPECT_EQ(task.state, last->state);
  const auto output = reports_of<OutputReport>();
  ASSERT_EQ(3U, output.size());
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(kept[i], output[i].chunk);
  EXPECT_EQ(ErrorCode::conflict, ledger_->end(id, 1, success()).error().code) << "twice is refused";
}

TEST_F(LedgerRunning, RetryWaitsLongerEachTimeAndThenFails) {
  const std::string id =
      create_with({60'000, {}, RetryPolicy{3, 1000, 3'600'000}, OnInterrupt::fail, 0, 0, ""});
  DurationMilliseconds gap = 0;
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const Task task = end(id, start(id).number, failure(reason::kExitStatus));
    EXPECT_EQ(TaskStatus::sent, task.state.status);
    EXPECT_EQ(reason::kRetryBackoff, task.state.reason);
    EXPECT_FALSE(task.state.end_time);
    ASSERT_TRUE(task.state.next_run_at);
    EXPECT_GT(*task.state.next_run_at - clock_.wall(), gap);
    gap = *task.state.next_run_at - clock_.wall();
    EXPECT_TRUE(ready_ids().empty());
    EXPECT_EQ(clock_.since_boot() + gap, ledger_->times("")->delay_ends);
    pass_time(std::chrono::milliseconds(gap - 1));
    EXPECT_TRUE(ready_ids().empty());
    pass_time(std::chrono::milliseconds(1));
    EXPECT_EQ(std::vector{id}, ready_ids());
  }
  EXPECT_EQ(2000, gap) << "doubled, with the jitter's middle";
  const Task task = end(id, start(id).number, failure(reason::kTimeout));
  EXPECT_EQ(TaskStatus::failed, task.state.status);
  EXPECT_EQ(reason::kTimeout, task.state.reason);
  EXPECT_EQ(3U, ledger_->runs(id)->size());
  EXPECT_EQ(reason::kExitStatus, ledger_->runs(id)->at(0).reason);
}

TEST_F(LedgerRunning, JitterNeverShrinksTheGap) {
  for (const double fraction : {0.0, 0.999}) {
    options_.fraction = [fraction] { return fraction; };
    subscription_.reset();
    ledger_.reset();
    ledger_ = *Ledger::open(folder_.path() / "ledger.db", clock_, options_);
    const std::string id = create_with({60'000, {}, RetryPolicy{9, 1000, 4000}, OnInterrupt::fail, 0, 0, ""});
    std::vector<DurationMilliseconds> gaps;
    for (int i = 0; i < 4; ++i) {
      const Task task = end(id, start(id).number, failure(reason::kWorkerError));
      gaps.push_back(*task.state.next_run_at - clock_.wall());
      pass_time(std::chrono::milliseconds(gaps.back()));
    }
    EXPECT_TRUE(std::is_sorted(gaps.begin(), gaps.end()));
    EXPECT_LE(gaps.back(), 5000);
    EXPECT_GE(gaps.front(), 750);
  }
}

TEST_F(LedgerRunning, OnlyFailuresThatMayPassAreRetried) {
  const TaskOptions options{60'000, {}, RetryPolicy{3, 1000, 1000}, OnInterrupt::fail, 0, 0, ""};
  for (const auto reason : {reason::kInterrupted, reason::kInvalid, reason::kRejected}) {
    const std::string id = create_with(options);
    EXPECT_EQ(TaskStatus::failed, end(id, start(id).number, failure(reason)).state.status);
  }
  const std::string id = create_with(options);
  EXPECT_EQ(TaskStatus::complete, end(id, start(id).number, success()).state.status);
}

TEST_F(LedgerRunning, AnInterruptedRunIsRunAgainThreeTimesWhereAsked) {
  const std::string id = create_with({60'000, {}, {}, OnInterrupt::rerun, 0, 0, ""});
  for (int i = 0; i < limits::kRerunsAfterInterrupt; ++i) {
    EXPECT_EQ(TaskStatus::sent, end(id, start(id).number, failure(reason::kInterrupted)).state.status);
    EXPECT_EQ(std::vector{id}, ready_ids());
  }
  EXPECT_EQ(TaskStatus::failed, end(id, start(id).number, failure(reason::kInterrupted)).state.status);
  EXPECT_EQ(4, get(id).state.run_count);
}

TEST_F(LedgerRunning, NothingRunsAgainBesideWhatSurvived) {
  const std::string id = create_with({60'000, {}, {}, OnInterrupt::rerun, 0, 0, ""});
  RunOutcome outcome = failure(reason::kInterrupted);
  outcome.may_rerun = false;
  EXPECT_EQ(TaskStatus::failed, end(id, start(id).number, outcome).state.status);
  const std::string retried = create_with({60'000, {}, RetryPolicy{3, 0, 0}, OnInterrupt::fail, 0, 0, ""});
  outcome.reason = reason::kTimeout;
  EXPECT_EQ(TaskStatus::failed, end(retried, start(retried).number, outcome).state.status);
}

TEST_F(LedgerRunning, RerunsCostNoAttempt) {
  const std::string id = create_with({60'000, {}, RetryPolicy{2, 0, 0}, OnInterrupt::rerun, 0, 0, ""});
  end(id, start(id).number, failure(reason::kInterrupted));
  EXPECT_EQ(TaskStatus::sent, end(id, start(id).number, failure(reason::kExitStatus)).state.status);
  pass_time(std::chrono::milliseconds(0));
  EXPECT_EQ(TaskStatus::failed, end(id, start(id).number, failure(reason::kExitStatus)).state.status);
}

TEST_F(LedgerRunning, WhatWasCancelledIsNotTriedAgain) {
  for (const auto reason : {reason::kExitStatus, reason::kInterrupted}) {
    const std::string id = create_with({60'000, {}, RetryPolicy{3, 1, 1}, OnInterrupt::rerun, 0, 0, ""});
    const auto run = start(id);
    ASSERT_TRUE(ledger_->cancel(id));
    EXPECT_EQ(TaskStatus::cancelled, end(id, run.number, failure(reason)).state.status);
  }
}

TEST_F(LedgerRunning, ExpiryEndsWhatHasNotStarted) {
  const std::string waits = create_with({60'000, clock_.wall() + 1000, {}, OnInterrupt::fail, 0, 0, ""});
  const std::string runs = create_with({60'000, clock_.wall() + 1000, {}, OnInterrupt::fail, 0, 0, ""});
  start(runs);
  EXPECT_EQ(clock_.wall() + 1000, ledger_->times("")->expires);
  pass_time(std::chrono::milliseconds(999));
  EXPECT_EQ(TaskStatus::sent, get(waits).state.status);
  clock_.advance(std::chrono::milliseconds(1));
  EXPECT_FALSE(ledger_->start(waits)->run) << "not even before somebody looked at the time";
  pass_time(std::chrono::milliseconds(0));
  EXPECT_EQ(TaskStatus::failed, get(waits).state.status);
  EXPECT_EQ(reason::kExpired, get(waits).state.reason);
  EXPECT_EQ(TaskStatus::running, get(runs).state.status);
  EXPECT_EQ(reason::kExpired, reports_of<EndedReport>().at(0).state.reason);
  EXPECT_FALSE(ledger_->times("")->expires);
}

TEST_F(LedgerRunning, AHeldDeviceStartsNothing) {
  const std::string id = create();
  ASSERT_TRUE(ledger_->set_hold(true));
  const auto answer = *ledger_->start(id);
  EXPECT_FALSE(answer.run);
  EXPECT_EQ(reason::kHeld, answer.reason);
  ASSERT_TRUE(ledger_->set_hold(false));
  start(id);
}

TEST_F(LedgerRunning, TheQueueIsPriorityThenArrival) {
  const std::string a = create_with({0, {}, {}, OnInterrupt::fail, 0, 0, ""});
  const std::string b = create_with({0, {}, {}, OnInterrupt::fail, 0, 5, ""});
  const std::string c = create_with({0, {}, {}, OnInterrupt::fail, 0, -5, ""});
  const std::string d = create_with({0, {}, {}, OnInterrupt::fail, 0, 5, ""});
  const auto all = *ledger_->ready(std::nullopt, 10);
  ASSERT_EQ(4U, all.size());
  EXPECT_EQ((std::vector{b, d, a, c}), ready_ids());
  const auto rest = *ledger_->ready(all[1], 10);
  ASSERT_EQ(2U, rest.size());
  EXPECT_EQ(a, rest[0].id);
}

TEST_F(LedgerRunning, ATaskBehindAKeyIsReadyWhenTheKeyIsFree) {
  const std::string a = create_with({0, {}, {}, OnInterrupt::fail, 0, 0, "key"});
  const std::string b = create_with({0, {}, {}, OnInterrupt::fail, 0, 0, "key"});
  const std::string c = create_with({0, {}, {}, OnInterrupt::fail, 0, 9, "key"});
  const auto run = start(a);
  ASSERT_TRUE(ledger_->park(std::vector{b, c}, reason::kKeyHeld, ""));
  EXPECT_TRUE(ready_ids().empty());
  EXPECT_EQ(a, *ledger_->running_with_key("key"));
  end(a, run.number, success());
  EXPECT_EQ(std::vector{c}, ready_ids()) << "the next of the key's own queue";
  ASSERT_TRUE(ledger_->cancel(c));
  EXPECT_EQ(std::vector{b}, ready_ids());
}

TEST_F(LedgerRunning, NobodyIsSetAsideForAKeyThatIsFreeAgain) {
  const std::string a = create_with({0, {}, {}, OnInterrupt::fail, 0, 0, "key"});
  const std::string b = create_with({0, {}, {}, OnInterrupt::fail, 0, 0, "key"});
  end(a, start(a).number, success());
  ASSERT_TRUE(ledger_->park(std::vector{b}, reason::kKeyHeld, ""));
  EXPECT_EQ(std::vector{b}, ready_ids()) << "no end would bring it back";
}

TEST_F(LedgerRunning, WhatWaitsForAWorkerIsSaidAtOnceAndOnce) {
  const std::string id = create(spec("custom"));
  acknowledge_all();
  ASSERT_TRUE(ledger_->park(std::vector{id}, reason::kNoWorker, "none"));
  EXPECT_EQ(reason::kNoWorker, get(id).state.reason);
  ASSERT_EQ(1U, reports_of<ChangedReport>().size());
  EXPECT_TRUE(ready_ids().empty());
  reopen();
  EXPECT_EQ(std::vector{id}, ready_ids()) << "a worker may have come with the restart";
  ASSERT_TRUE(ledger_->park(std::vector{id}, reason::kNoWorker, "none"));
  EXPECT_EQ(1U, reports_of<ChangedReport>().size()) << "not repeated";
}

TEST_F(LedgerRunning, OtherWaitsAreToldAfterASecondAndAtMostSoManyAtOnce) {
  for (int i = 0; i < 5; ++i) create();
  acknowledge_all();
  EXPECT_EQ(clock_.wall(), ledger_->times(reason::kNoSlot)->waiting_since);
  clock_.advance(std::chrono::milliseconds(999));
  EXPECT_EQ(0, *ledger_->report_waits(reason::kNoSlot, clock_.wall(), 3));
  clock_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(3, *ledger_->report_waits(reason::kNoSlot, clock_.wall(), 3));
  EXPECT_EQ(2, *ledger_->report_waits(reason::kNoSlot, clock_.wall(), 3));
  EXPECT_EQ(0, *ledger_->report_waits(reason::kNoSlot, clock_.wall(), 3));
  EXPECT_FALSE(ledger_->times(reason::kNoSlot)->waiting_since);
  EXPECT_EQ(5U, reports_of<ChangedReport>().size());
  EXPECT_EQ(5, *ledger_->report_waits(reason::kHeld, clock_.wall(), 100)) << "another reason is news";
}

TEST_F(LedgerRunning, DeferredTasksAreAskedAgain) {
  const std::string id = create();
  ASSERT_TRUE(ledger_->defer(id, reason::kValidateFalse, "later", 100));
  EXPECT_EQ(reason::kValidateFalse, get(id).state.reason);
  EXPECT_TRUE(ready_ids().empty());
  pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(std::vector{id}, ready_ids());
  EXPECT_EQ(0, get(id).state.run_count) << "no attempt spent";
}

TEST_F(LedgerRunning, AWaitIsADurationWhateverTheWallClockDoes) {
  for (const DurationMilliseconds jump : {-limits::kDay, limits::kDay, 10 * 366 * limits::kDay}) {
    const std::string picky = create();
    ASSERT_TRUE(ledger_->defer(picky, reason::kValidateFalse, "later", 5000));
    const std::string failing =
        create_with({60'000, {}, RetryPolicy{3, 5000, 5000}, OnInterrupt::fail, 0, 0, ""});
    end(failing, start(failing).number, failure(reason::kExitStatus));
    pass_time(std::chrono::milliseconds(1));
    clock_.set_wall(clock_.wall() + jump);
    pass_time(std::chrono::milliseconds(4998));
    EXPECT_TRUE(ready_ids().empty()) << jump;
    EXPECT_EQ(clock_.wall() + 1, get(picky).state.next_run_at) << "told by the clock as it is now";
    pass_time(std::chrono::milliseconds(1));
    EXPECT_EQ((std::vector{picky, failing}), ready_ids()) << jump;
    for (const auto& id : {picky, failing}) end(id, start(id).number, success());
  }
}

TEST_F(LedgerRunning, AWaitGoesOnAfterARestartAndIsNeverLongerThanItWas) {
  const auto wait = [&] {
    const std::string id = create();
    EXPECT_TRUE(ledger_->defer(id, reason::kValidateFalse, "later", 5000));
    clock_.advance(std::chrono::milliseconds(1000));
    return id;
  };
  // In the same boot by the clock that nobody sets.
  std::string id = wait();
  clock_.set_wall(clock_.wall() - 3'600'000);
  reopen();
  pass_time(std::chrono::milliseconds(3999));
  EXPECT_TRUE(ready_ids().empty());
  pass_time(std::chrono::milliseconds(1));
  EXPECT_EQ(std::vector{id}, ready_ids());
  end(id, start(id).number, success());
  // After a reboot by the wall clock, where it can be believed.
  id = wait();
  reopen("boot-2");
  pass_time(std::chrono::milliseconds(3999));
  EXPECT_TRUE(ready_ids().empty());
  pass_time(std::chrono::milliseconds(1));
  EXPECT_EQ(std::vector{id}, ready_ids());
  end(id, start(id).number, success());
  for (const DurationMilliseconds jump : {-1'001LL, 3'600'000LL}) {
    id = wait();
    clock_.set_wall(clock_.wall() + jump);
    reopen("boot-" + std::to_string(jump));
    pass_time(std::chrono::milliseconds(0));
    EXPECT_EQ(std::vector{id}, ready_ids()) << jump;
    end(id, start(id).number, success());
  }
}

TEST_F(LedgerRunning, WhyATaskWaitsIsToldThoughTheClockWasSetBack) {
  const std::string id = create();
  clock_.set_wall(clock_.wall() - 3'600'000);
  pass_time(std::chrono::milliseconds(0));
  pass_time(std::chrono::milliseconds(1000));
  EXPECT_EQ(1, *ledger_->report_waits(reason::kNoSlot, clock_.wall(), 3));
  EXPECT_EQ(reason::kNoSlot, get(id).state.reason);
}

TEST_F(LedgerRunning, AFullOutboxDropsOutputThenRefusesStartsAndKeepsEnds) {
  options_.outbox_budget = 64 * 1024;
  reopen();
  const std::string first = create();
  const std::string second = create();
  const auto one = start(first);
  const auto two = start(second);
  const std::string big(40 * 1024, 'x');
  end(first, one.number, success(), chunks({{OutputStream::standard_output, 0, big}}));
  EXPECT_EQ(1U, ledger_->kept_output(first, 1)->size());
  const Task task =
      end(second, two.number, success(),
          chunks({{OutputStream::standard_output, 0, big}, {OutputStream::standard_error, 0, "small"}}));
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  const auto result = *parse_json(task.state.result);
  EXPECT_EQ(40 * 1024, result["data"]["outputDropped"].get<int>());
  EXPECT_TRUE(result["data"]["truncated"].get<bool>());
  EXPECT_EQ(1U, ledger_->kept_output(second, 1)->size()) << "what fits is kept";
  const std::string third = create();
  const auto three = start(third);
  RunOutcome own = success();
  own.result = R"({"success":true,"data":{"mine":1},"output":{"truncated":false}})";
  const auto last = *parse_json(
      end(third, three.number, own, chunks({{OutputStream::standard_output, 0, big}})).state.result);
  EXPECT_EQ(R"({"mine":1})", encode_json(last["data"])) << "data of a worker's own stays as it is";
  EXPECT_EQ(40 * 1024, last["output"]["outputDropped"].get<int>());
  EXPECT_TRUE(last["output"]["truncated"].get<bool>());
  // Whatever JSON it is; and what it says of dropped output itself is no number to count on from.
  for (const char* data : {R"("text")", "[1]", "7", "null"}) {
    const std::string other = create();
    own.result = std::string(R"({"success":true,"data":)") + data + "}";
    const auto kept = *parse_json(
        end(other, start(other).number, own, chunks({{OutputStream::standard_output, 0, big}})).state.result);
    const bool beside = kept.contains("output");
    EXPECT_EQ(data, beside ? encode_json(kept["data"]) : "null");
    EXPECT_EQ(40 * 1024, kept[beside ? "output" : "data"]["outputDropped"].get<int>()) << data;
  }
  for (const char* before : {"18446744073709551615", "-5", "9223372036854775807", "true"}) {
    const std::string other = create();
    own.result = std::string(R"({"success":true,"data":{"outputDropped":)") + before + "}}";
    const auto kept = *parse_json(
        end(other, start(other).number, own, chunks({{OutputStream::standard_output, 0, big}})).state.result);
    EXPECT_GE(kept["data"]["outputDropped"].get<std::int64_t>(), 40 * 1024) << before;
  }
  while (ledger_->status()->outbox_bytes < options_.outbox_budget) create();
  const std::string refused = create();
  const auto answer = *ledger_->start(refused);
  EXPECT_FALSE(answer.run);
  EXPECT_EQ(reason::kOutboxFull, answer.reason);
  changes_.clear();
  acknowledge_all();
  EXPECT_TRUE(changes_.back().work) << "it goes on";
  start(refused);
}

TEST_F(LedgerRunning, OldOutputMakesRoomOnceTheServerHasIt) {
  options_.output_budget = 2500;
  reopen();
  std::vector<std::string> ids;
  const auto run_one = [&] {
    ids.push_back(create());
    end(ids.back(), start(ids.back()).number, success(),
        chunks({{OutputStream::standard_output, 0, std::string(1000, 'x')}}));
  };
  for (int i = 0; i < 3; ++i) run_one();
  EXPECT_EQ(1U, ledger_->kept_output(ids[0], 1)->size()) << "the server does not have it yet";
  acknowledge_all();
  run_one();
  EXPECT_TRUE(ledger_->kept_output(ids[0], 1)->empty());
  EXPECT_TRUE(ledger_->kept_output(ids[1], 1)->empty());
  EXPECT_EQ(1U, ledger_->kept_output(ids[2], 1)->size());
  EXPECT_EQ(1U, ledger_->kept_output(ids[3], 1)->size());
  EXPECT_EQ(TaskStatus::complete, get(ids[0]).state.status) << "the task itself stays";
}

TEST_F(LedgerRunning, AFullDiskEndsNothingHalfAndIsOverWhenThereIsRoom) {
  // Seven pages more than now: room for a few tasks, not for their output.
  options_.max_page_count = ledger_->status()->file_bytes / 4096 + 7;
  reopen();
  const std::string id = create();
  const auto run = start(id);
  const auto failed = ledger_->end(id, run.number, success(),
                                   chunks({{OutputStream::standard_output, 0, std::string(200'000, 'x')}}));
  ASSERT_FALSE(failed);
  EXPECT_EQ(ErrorCode::limit, failed.error().code) << failed.error().message;
  EXPECT_EQ(TaskStatus::running, get(id).state.status) << "nothing half done";
  EXPECT_TRUE(ledger_->kept_output(id, 1)->empty());
  options_.max_page_count = 100'000;
  reopen();
  EXPECT_EQ(TaskStatus::failed, end(id, run.number, failure(reason::kInterrupted)).state.status);
}

}  // namespace
}  // namespace agenttask::agent
