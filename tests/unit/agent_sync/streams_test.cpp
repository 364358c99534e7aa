#include <algorithm>

#include "tests/unit/agent_sync/sync_fixture.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

constexpr const char* kTask = "11111111-1111-4111-8111-111111111111";
constexpr const char* kOther = "22222222-2222-4222-8222-222222222222";

using StreamsTest = SyncFixture;

TEST_F(StreamsTest, WithoutAServerNothingHappensAndNothingWakes) {
  EXPECT_EQ(step(), std::chrono::hours(1));
  EXPECT_FALSE(link.has(ServerCall::poll));
  EXPECT_EQ(sync->status().state, LinkState::not_enrolled);
}

TEST_F(StreamsTest, TheFirstPollIsNotHeldAndBringsASnapshot) {
  ASSERT_TRUE(ledger->create([] {
    TaskSpec spec;
    spec.type = "echo";
    return spec;
  }()));
  be_node();
  step();
  ASSERT_TRUE(link.has(ServerCall::poll));
  EXPECT_EQ(link.get(ServerCall::poll).peer.url, kUrl);
  const PollRequest first = poll();
  EXPECT_EQ(first.protocol, protocol_version());
  EXPECT_EQ(first.version, "1.2.3");
  EXPECT_EQ(first.platform, "linux-test");
  EXPECT_EQ(first.name, "name-1");
  EXPECT_EQ(first.epoch, 0);
  EXPECT_EQ(first.wait, 0);
  EXPECT_FALSE(first.incarnation.empty());
  EXPECT_EQ(sync->status().state, LinkState::connecting);
  answer_resync();
  EXPECT_EQ(sync->status().state, LinkState::connected);
  ASSERT_TRUE(link.has(ServerCall::reports));
  EXPECT_EQ(reports().epoch, 1);
  EXPECT_EQ(reports().lines.size(), 2U);  // the task, and the end of the snapshot
  EXPECT_EQ(poll().epoch, 1);
}

TEST_F(StreamsTest, WorkersAreToldAfterAStartAndWhenTheyHaveChanged) {
  const WorkerSummary few{{"echo"}, {}, 0};
  const WorkerSummary more{{"echo", "GREET"}, {"solana"}, 1};
  const auto polled = [&] {
    for (int steps = 0; steps < 5 && !link.has(ServerCall::poll); ++steps) pass(step());
    return poll();
  };
  be_node();
  sync->tell_workers(few);
  step();
  EXPECT_EQ(polled().workers, few);
  answer_resync();
  answer_reports();
  if (polled().wait == 0) answer_poll();
  EXPECT_FALSE(polled().workers) << "a poll has it where it is news";
  sync->tell_workers(few);
  step();
  EXPECT_EQ(polled().wait, limits::kWaitMost) << "the held poll stays";
  sync->tell_workers(more);
  step();
  EXPECT_EQ(polled().workers, more) << "at once";
  link.lose(ServerCall::poll);  // perhaps the server heard it
  sync->tell_workers(few);
  EXPECT_EQ(polled().workers, few) << "what it knows is not known";
  answer_poll();
  EXPECT_FALSE(polled().workers);
  answer_resync();  // a server that was put back
  EXPECT_EQ(polled().workers, few);
  answer_poll();
  EXPECT_FALSE(polled().workers);
  start();
  sync->tell_workers(few);
  step();
  EXPECT_EQ(polled().workers, few);
}

TEST_F(StreamsTest, DirectivesAreKeptAndAcknowledgedByTheNextPoll) {
  be_connected();
  EXPECT_EQ(poll().wait, limits::kWaitMost);
  EXPECT_GT(link.get(ServerCall::poll).timeout, milliseconds(limits::kWaitMost));
  const std::string line = task_line(1, kTask);
  answer_poll({line});
  EXPECT_TRUE(ledger->get(kTask));
  ASSERT_TRUE(link.has(ServerCall::poll));
  EXPECT_EQ(poll().directives, agenttask::advance({}, line));
}

TEST_F(StreamsTest, ALostAnswerIsAskedForAgainAndAppliedOnce) {
  be_connected();
  const Cursor before = poll().directives;
  link.lose(ServerCall::poll);  // the server offered the task; nobody heard
  EXPECT_EQ(sync->status().state, LinkState::disconnected);
  const auto wait = step();
  EXPECT_LE(wait, milliseconds(5000));
  pass(wait);
  EXPECT_EQ(poll().directives, before);
  answer_poll({task_line(1, kTask)});
  answer_poll({task_line(1, kTask)});  // a server that repeats itself changes nothing
  EXPECT_EQ(ledger->list({}, std::nullopt, 10)->tasks.size(), 1U);
  EXPECT_EQ(sync->status().state, LinkState::connected);
  EXPECT_TRUE(sync->status().last_error.empty());
}

TEST_F(StreamsTest, AGapIsDroppedAndNotAskedForInATightCircle) {
  be_connected();
  answer_poll({task_line(2, kTask)});
  EXPECT_FALSE(ledger->get(kTask));
  EXPECT_FALSE(link.has(ServerCall::poll));
  const auto wait = step();
  EXPECT_GE(wait, milliseconds(1000));
  pass(wait);
  answer_poll({task_line(1, kOther), task_line(2, kTask)});
  EXPECT_TRUE(ledger->get(kTask));
}

TEST_F(StreamsTest, AKillBetweenAnswerAndAcknowledgementIsARepetition) {
  be_connected();
  const std::string line = task_line(1, kTask);
  answer_poll({line});
  start();
  step();
  EXPECT_EQ(poll().directives, agenttask::advance({}, line));
  EXPECT_EQ(poll().predecessors.size(), 1U);
  answer_poll();
  EXPECT_TRUE(poll().predecessors.empty());
  EXPECT_EQ(ledger->list({}, std::nullopt, 10)->tasks.size(), 1U);
}

TEST_F(StreamsTest, AServerThatKeepsTheDeviceApartHasNotNotedItsStart) {
  be_connected();
  answer_poll();
  start();
  step();
  ASSERT_EQ(poll().predecessors.size(), 1U);
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = epoch;
  answer.time = clock.wall();
  link.answer(ServerCall::poll, 200, encode(answer));  // it took the poll for a late one
  pass(milliseconds(10'000));
  EXPECT_EQ(poll().predecessors.size(), 1U);
  answer.quarantined = "two ledgers";
  link.answer(ServerCall::poll, 200, encode(answer));
  pass(milliseconds(10'000));
  EXPECT_EQ(poll().predecessors.size(), 1U);
  start();
  step();
  EXPECT_EQ(poll().predecessors.size(), 2U);
  answer_poll();
  EXPECT_TRUE(poll().predecessors.empty());
}

TEST_F(StreamsTest, AServerThatWaitsForTheSnapshotOfAReleasedDeviceGetsIt) {
  be_connected();
  answer_poll();
  start();
  step();
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = epoch + 1;
  answer.resync = true;
  answer.quarantined = "the server waits for the snapshot of the device's ledger";
  answer.time = clock.wall();
  link.answer(ServerCall::poll, 200, encode(answer));
  step();
  EXPECT_TRUE(link.has(ServerCall::reports));
}

TEST_F(StreamsTest, ReportsGoOutWhileThePollIsHeld) {
  be_connected();
  answer_poll({task_line(1, kTask)});
  const int polls = link.started(ServerCall::poll);
  ASSERT_TRUE(ledger->start(kTask));
  EXPECT_EQ(step(), milliseconds(std::min<long long>(3'600'000, step().count())));
  ASSERT_TRUE(link.has(ServerCall::reports));
  EXPECT_EQ(reports().lines.size(), 1U);
  EXPECT_EQ(link.started(ServerCall::poll), polls);
  RunOutcome outcome;
  outcome.result = R"({"success":true,"data":{}})";
  ASSERT_TRUE(ledger->end(kTask, 1, outcome));
  step();  // one batch at a time: what came meanwhile waits
  EXPECT_EQ(reports().lines.size(), 1U);
  answer_reports();
  ASSERT_TRUE(link.has(ServerCall::reports));
  EXPECT_EQ(reports().after.sequence, 2);
  answer_reports();
  EXPECT_FALSE(link.has(ServerCall::reports));
  EXPECT_EQ(ledger->status()->outbox_reports, 0);
}

TEST_F(StreamsTest, ALostAcknowledgementRepeatsTheSameReports) {
  be_connected();
  answer_poll({task_line(1, kTask)});
  ASSERT_TRUE(ledger->start(kTask));
  step();
  const ReportBatch first = reports();
  link.lose(ServerCall::reports);
  pass(step());
  ASSERT_TRUE(link.has(ServerCall::reports));
  EXPECT_EQ(reports().lines, first.lines);
  EXPECT_EQ(reports().after, first.after);
  start();  // and after a kill too, once the server knows that this start follows
  step();
  EXPECT_FALSE(link.has(ServerCall::reports));
  answer_poll();
  ASSERT_TRUE(link.has(ServerCall::reports));
  EXPECT_EQ(reports().lines, first.lines);
}

TEST_F(StreamsTest, ABatchThatALineDoesNotCarryIsSentInSmallerOnes) {
  constexpr std::size_t kCarried = 40'000;  // then it breaks
  constexpr int kTasks = 64;
  const auto id_of = [](int number) {
    const std::string digits = std::to_string(number);
    return "01a20000-0000-7000-8000-" + std::string(12 - digits.size(), '0') + digits;
  };
  be_connected();
  std::vector<std::string> lines;
  for (int i = 0; i < kTasks; ++i) lines.push_back(task_line(i + 1, id_of(i)));
  answer_poll(lines);
  RunOutcome outcome;
  outcome.result = R"({"success":true,"data":{"stdout":")" + std::string(4'000, 'x') + "\"}}";
  for (int i = 0; i < kTasks; ++i) {
    ASSERT_TRUE(ledger->start(id_of(i)));
    ASSERT_TRUE(ledger->end(id_of(i), 1, outcome));
  }
  step();
  const std::size_t whole = link.get(ServerCall::reports).body.size();
  ASSERT_GT(whole, kTasks * 4'000U);
  int broken = 0;
  std::size_t largest = 0;
  while (link.has(ServerCall::reports)) {
    const std::size_t bytes = link.get(ServerCall::reports).body.size();
    if (bytes <= kCarried) {
      largest = std::max(largest, bytes);
      answer_reports();
      continue;
    }
    ASSERT_LT(++broken, 16);
    link.lose(ServerCall::reports);
    while (!link.has(ServerCall::reports)) {
      pass(step());
      if (link.has(ServerCall::poll) && poll().wait == 0) answer_poll();
    }
  }
  EXPECT_EQ(ledger->status()->outbox_reports, 0);
  EXPECT_GT(largest, kCarried / 4);  // no smaller than they have to be
}

TEST_F(StreamsTest, ReportsThatNobodyAnswersAskWhetherTheServerIsThere) {
  be_connected();
  answer_poll({task_line(1, kTask)});
  ASSERT_TRUE(ledger->start(kTask));
  step();
  link.lose(ServerCall::reports, net::HttpFailure::cannot_connect);
  step();
  EXPECT_EQ(poll().wait, 0);  // in place of the one that the server was holding
  EXPECT_FALSE(link.has(ServerCall::reports));
  answer_poll();
  EXPECT_TRUE(link.has(ServerCall::reports));  // it is: no need to wait for the retry
  const int polls = link.started(ServerCall::poll);
  link.lose(ServerCall::reports);  // only they fail: from now on at their own pace
  const auto wait = step();
  EXPECT_EQ(link.started(ServerCall::poll), polls);
  EXPECT_GT(wait, milliseconds(0));
}

TEST_F(StreamsTest, AServerThatTakesNoReportsIsNotAskedInATightCircle) {
  be_connected();
  answer_poll({task_line(1, kTask)});
  ASSERT_TRUE(ledger->start(kTask));
  step();
  ReportAnswer nothing;
  nothing.epoch = epoch;
  nothing.reports = reports().after;
  link.answer(ServerCall::reports, 200, encode(nothing));
  const auto wait = step();
  EXPECT_FALSE(link.has(ServerCall::reports));
  EXPECT_GT(wait, milliseconds(0));
  EXPECT_EQ(sync->status().last_error_code, "no-progress");
}

TEST_F(StreamsTest, ANewEpochInTheAnswerToReportsStartsASnapshotAndAnotherPoll) {
  be_connected();
  answer_poll({task_line(1, kTask)});
  ASSERT_TRUE(ledger->start(kTask));
  step();
  ReportAnswer restored;
  restored.epoch = ++epoch;
  restored.resync = true;
  link.answer(ServerCall::reports, 200, encode(restored));
  step();
  EXPECT_EQ(poll().epoch, epoch);
  EXPECT_EQ(poll().directives, Cursor());
  ASSERT_TRUE(link.has(ServerCall::reports));
  EXPECT_EQ(reports().epoch, epoch);
  EXPECT_EQ(reports().after, Cursor());
}

TEST_F(StreamsTest, RetriesBackOffWithJitterUpToFiveMinutes) {
  fraction = 0.999;
  be_node();
  step();
  milliseconds longest{0};
  for (int attempt = 0; attempt < 12; ++attempt) {
    link.lose(ServerCall::poll, net::HttpFailure::cannot_connect);
    const auto wait = step();
    if (attempt == 0) {
      EXPECT_LE(wait, milliseconds(5000));
    }
    EXPECT_LE(wait, milliseconds(300'000));
    longest = std::max(longest, wait);
    EXPECT_FALSE(link.has(ServerCall::poll));
    pass(wait);
    ASSERT_TRUE(link.has(ServerCall::poll));
  }
  EXPECT_GT(longest, milliseconds(290'000));
  EXPECT_EQ(sync->status().last_error_code, "cannot-connect");
  answer_resync();  // success: the next failure begins from the start
  link.lose(ServerCall::poll);
  EXPECT_LE(step(), milliseconds(5000));
}

TEST_F(StreamsTest, RetryAfterIsHonoured) {
  be_connected();
  link.answer(ServerCall::poll, 503, "", {{"retry-after", "40"}});
  const auto wait = step();
  EXPECT_GE(wait, milliseconds(40'000));
  EXPECT_LE(wait, milliseconds(45'000));
  EXPECT_EQ(sync->status().state, LinkState::disconnected);
  EXPECT_NEAR(static_cast<double>(sync->status().next_attempt.value()),
              static_cast<double>(clock.wall() + wait.count()), 1.0);
}

TEST_F(StreamsTest, WakingTriesAgainAtOnce) {
  be_connected();
  link.lose(ServerCall::poll);
  step();
  EXPECT_FALSE(link.has(ServerCall::poll));
  sync->wake();
  EXPECT_GT(link.woken, 0);
  step();
  EXPECT_TRUE(link.has(ServerCall::poll));
}

TEST_F(StreamsTest, AnUnknownDeviceKeepsTryingSlowlyAndSaysSo) {
  fraction = 0;
  be_connected();
  link.answer(ServerCall::poll, 403,
              R"({"status":403,"code":"node-revoked","detail":"this node was removed"})");
  const auto wait = step();
  EXPECT_GE(wait, milliseconds(150'000));
  EXPECT_LE(wait, milliseconds(300'000));
  EXPECT_EQ(sync->status().state, LinkState::refused);
  EXPECT_EQ(sync->status().last_error_code, "node-revoked");
  EXPECT_NE(sync->status().last_error.find("this node was removed"), std::string::npos);
}

TEST_F(StreamsTest, AnotherProtocolIsSaidClearly) {
  be_connected();
  PollAnswer answer;
  answer.protocol = "9.0";
  answer.epoch = epoch;
  link.answer(ServerCall::poll, 200, encode(answer));
  step();
  EXPECT_EQ(sync->status().state, LinkState::refused);
  EXPECT_NE(sync->status().last_error.find("9.0"), std::string::npos);
}

TEST_F(StreamsTest, AnswersThatMakeNoSenseAreFailures) {
  be_connected();
  for (const std::string& nonsense :
       {std::string(), std::string("hello"), std::string("{}"), std::string("[1]"), std::string("\xFF\n"),
        std::string(R"({"protocol":"1.0","epoch":"x"})")}) {
    link.answer(ServerCall::poll, 200, nonsense);
    const auto wait = step();
    EXPECT_EQ(sync->status().state, LinkState::disconnected) << nonsense;
    pass(wait);
    ASSERT_TRUE(link.has(ServerCall::poll)) << nonsense;
  }
}

TEST_F(StreamsTest, AServerThatDoesNotHoldPollsIsNotAskedInATightCircle) {
  be_connected();
  answer_poll();
  EXPECT_FALSE(link.has(ServerCall::poll));
  EXPECT_EQ(step(), milliseconds(1000));
  pass(milliseconds(1000));
  ASSERT_TRUE(link.has(ServerCall::poll));
  clock.advance(milliseconds(30'000));
  answer_poll();  // held this time: asked again at once
  EXPECT_TRUE(link.has(ServerCall::poll));
}

TEST_F(StreamsTest, AnIntervalReplacesHeldPolls) {
  options.poll.interval = milliseconds(60'000);
  be_node();
  step();
  answer_resync();
  answer_reports();
  EXPECT_EQ(poll().wait, 0);
  answer_poll();
  EXPECT_FALSE(link.has(ServerCall::poll));
  EXPECT_EQ(step(), milliseconds(60'000));
  pass(milliseconds(59'999));
  EXPECT_FALSE(link.has(ServerCall::poll));
  pass(milliseconds(1));
  answer_poll({task_line(1, kTask)});
  EXPECT_TRUE(link.has(ServerCall::poll));  // to acknowledge it
  EXPECT_EQ(sync->status().poll_interval, 60'000);
  sync->configure({});
  step();
  EXPECT_GT(poll().wait, 0);
}

TEST_F(StreamsTest, AHoldIsToldAtOnce) {
  be_connected();
  EXPECT_FALSE(poll().hold);
  ASSERT_TRUE(ledger->set_hold(true));
  step();
  EXPECT_TRUE(poll().hold);
}

TEST_F(StreamsTest, TheClocksDifferenceIsKnown) {
  be_connected();
  answer_poll();
  EXPECT_EQ(sync->status().clock_offset, 250);
  EXPECT_EQ(sync->status().last_contact, clock.wall());
  EXPECT_EQ(sync->status().certificate_expires, clock.wall() + 5 * kDay);
}

TEST_F(StreamsTest, AnotherNodeSaysWhatBecameOfTheFormerOnesTasks) {
  be_connected();
  answer_poll({task_line(1, "00000000-0000-7000-8000-000000000001")});
  EXPECT_EQ(to_json(sync->status()).find("formerNode"), std::string::npos);
  be_node("node-2");
  step();
  EXPECT_EQ(ledger->get("00000000-0000-7000-8000-000000000001")->state.status, TaskStatus::cancelled);
  EXPECT_EQ(poll().epoch, 0);
  EXPECT_NE(to_json(sync->status())
                .find(R"("formerNode":{"cancelled":1,"nodeId":"node-1","running":0,"unreported":0})"),
            std::string::npos)
      << to_json(sync->status());
}

TEST_F(StreamsTest, TheServerGivesTheNodeItsName) {
  be_connected();
  EXPECT_EQ(poll().name, "name-1");
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = epoch;
  answer.time = clock.wall();
  answer.name = "web-1";
  link.answer(ServerCall::poll, 200, encode(answer));
  step();
  EXPECT_EQ(sync->status().name, "web-1");
  EXPECT_EQ(sync->status().state, LinkState::connected);
  pass(milliseconds(5000));
  EXPECT_EQ(poll().name, "web-1");
  start();  // and it stays so
  step();
  EXPECT_EQ(sync->status().name, "web-1");
  EXPECT_EQ(poll().name, "web-1");
}

TEST_F(StreamsTest, WhatPeopleSeeOfItIsJson) {
  be_connected();
  const std::string json = to_json(sync->status());
  EXPECT_NE(json.find(R"("state":"connected")"), std::string::npos);
  EXPECT_NE(json.find(R"("nodeId":"node-1")"), std::string::npos);
  EXPECT_NE(json.find(R"("enrolled":true)"), std::string::npos);
}

}  // namespace
}  // namespace agenttask::agent
