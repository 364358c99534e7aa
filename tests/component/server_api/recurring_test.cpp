#include "server/store/housekeeping.hpp"
#include "tests/component/server_api/task_model_fixture.hpp"

namespace agenttask::server::test {
namespace {

class RecurringApi : public TaskModelApi {
 protected:
  std::string held_every_minute() {
    auto id = added(every_minute());
    deliver();
    return id;
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> found;
    for (const auto& line : directives()) found.push_back(text_of(line["kind"]));
    return found;
  }
  using Kinds = std::vector<std::string>;
};

TEST_F(RecurringApi, GoesBackToSentBetweenItsRuns) {
  const auto id = held_every_minute();
  EXPECT_FALSE(task(id)["options"].contains("expiresAt")) << "it ends by cancel or delete only";
  for (std::int64_t run = 1; run <= 3; ++run) {
    report(device, {StartedReport{id, run, clock.wall(), run + 10, {}}});
    EXPECT_EQ(task(id)["status"], "running");
    EXPECT_EQ(task(id)["occurrence"], run + 10);
    auto state = held(id, TaskStatus::sent).state;
    state.reason = reason::kNotDue;
    state.next_run_at = clock.wall() + 60'000;
    state.missed_count = run - 1;
    state.run_count = run;
    report(device,
           {EndedReport{id,
                        agenttask::Run{id, run, run == 2 ? RunStatus::failed : RunStatus::complete,
                                       run == 2 ? "timeout" : "", 5, 6, R"({"success":true})", run + 10, ""},
                        state}});
    const auto rests = task(id);
    EXPECT_EQ(rests["status"], "sent");
    EXPECT_EQ(rests["reason"], "not-due");
    EXPECT_EQ(rests["nextRunAt"], clock.wall() + 60'000);
    EXPECT_EQ(rests["runCount"], run);
    EXPECT_EQ(rests.value("missedCount", 0), run - 1);
    EXPECT_FALSE(rests.contains("endTime"));
  }
  const auto runs = ok("GET", path(id, "/runs"))["runs"];
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs[0]["occurrence"], 13);
  EXPECT_EQ(runs[1]["reason"], "timeout");
  ok("POST", path(id, "/cancel"), nullptr, 202);
  auto state = held(id, TaskStatus::cancelled).state;
  report(device, {EndedReport{id, {}, state}});
  EXPECT_EQ(task(id)["status"], "cancelled");
  problem("POST", path(id, "/pause"), nullptr, 409, "already-ended");
  problem("POST", path(id, "/run"), nullptr, 409, "already-ended");
}

TEST_F(RecurringApi, PauseResumeAndRunAreAskedOfTheDevice) {
  const auto id = held_every_minute();
  EXPECT_EQ(ok("POST", path(id, "/pause"), nullptr, 202)["requested"], (json{"pause"}));
  ok("POST", path(id, "/pause"), json::object(), 202);
  EXPECT_EQ(ok("POST", path(id, "/run"), nullptr, 202)["requested"], (json{"pause", "run"}));
  ok("POST", path(id, "/run"), nullptr, 202);
  EXPECT_EQ(kinds(), (Kinds{"pause", "run"})) << "each once";
  acknowledge();
  auto paused = held(id, TaskStatus::sent);
  paused.state.paused = true;
  paused.state.reason = reason::kPaused;
  report_changed(paused);
  EXPECT_EQ(task(id)["paused"], true);
  EXPECT_EQ(task(id)["reason"], "paused");
  // It is so, and the device is there to say so.
  ok("POST", path(id, "/pause"));
  ok("POST", path(id, "/resume"), nullptr, 202);
  EXPECT_EQ(kinds(), Kinds{"resume"});
  problem("POST", path(id, "/pause"), {{"why", "x"}}, 400, "invalid");
  EXPECT_EQ(call("POST", path(id, "/run"), "", as(make_operator(Role::viewer))).status, 403);
}

TEST_F(RecurringApi, OfADeviceThatIsAwayNobodyKnows) {
  const auto id = held_every_minute();
  clock.advance(std::chrono::hours(1));
  ok("POST", path(id, "/resume"), nullptr, 202);  // somebody there may have paused it
  ok("POST", path(id, "/pause"), nullptr, 202);
  ok("POST", path(id, "/resume"), nullptr, 202);
  ok("POST", path(id, "/pause"), nullptr, 202);
  EXPECT_EQ(kinds(), Kinds{"pause"}) << "what was not offered gives way";
}

TEST_F(RecurringApi, WhatWasAskedBeforeTheTaskWasSentGoesBehindIt) {
  const auto id = added(every_minute());
  EXPECT_EQ(ok("POST", path(id, "/pause"), nullptr, 202)["requested"], (json{"pause"}));
  ok("POST", path(id, "/run"), nullptr, 202);
  EXPECT_EQ(kinds(), (Kinds{"task", "pause", "run"}));
}

TEST_F(RecurringApi, ARunWhileItRunsIsAConflict) {
  const auto id = held_every_minute();
  report(device, {StartedReport{id, 1, clock.wall(), 1, {}}});
  problem("POST", path(id, "/run"), nullptr, 409, "conflict");
  const auto question_id = asking();
  problem("POST", path(question_id, "/run"), nullptr, 409, "conflict");
  // Refused by the device: the task says so, and a cancel that is under way stays asked for.
  const auto other = held_every_minute();
  ok("POST", path(other, "/run"), nullptr, 202);
  ok("POST", path(other, "/cancel"), nullptr, 202);
  const auto lines = directives();
  report(device, {RefusedReport{number_of(lines[0]), other, "conflict", "it runs already"}});
  EXPECT_NE(task(other)["detail"].get<std::string>().find("it runs already"), std::string::npos);
  EXPECT_TRUE(task(other).contains("cancelRequestedAt"));
}

/// A device that comes with a past that is not the server's, and what it tells of its tasks.
class NewEpoch : public RecurringApi {
 protected:
  void begin() {
    const auto answer = polled(device, poll_of(device, {}, 5));
    ASSERT_TRUE(answer.resync);
    epoch = answer.epoch;
  }
  Kinds offered() {
    const auto answer = polled(device, poll_of(device, at, epoch));
    at = after(answer);
    Kinds found;
    for (const auto& line : answer.lines) found.push_back(text_of(json::parse(line)["kind"]));
    return found;
  }
  void tell(const std::vector<decltype(Report::body)>& bodies) {
    ReportBatch batch{protocol_version(), epoch, "incarnation-" + device.id, told, {}};
    for (const auto& body : bodies) {
      batch.lines.push_back(encode(Report{told.sequence + 1, body}));
      told = agenttask::advance(told, batch.lines.back());
    }
    EXPECT_EQ(call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate}).status,
              200);
  }
  std::int64_t epoch = 0;
  Cursor at, told;
};

TEST_F(NewEpoch, ARunThatWasAskedForIsTheSameRequestWheneverItIsRepeated) {
  const auto first = held_every_minute();
  const auto second = held_every_minute();
  run_once(second, 1, 1);
  ok("POST", path(first, "/run"), nullptr, 202);
  ok("POST", path(second, "/run"), nullptr, 202);
  ok("POST", path(second, "/pause"), nullptr, 202);
  // Taken by the device; the server never heard what it did with them.
  std::map<std::string, std::string> requests;
  for (const auto& directive : directives()) {
    if (directive["kind"] == "run") requests[text_of(directive["taskId"])] = text_of(directive["request"]);
  }
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_TRUE(is_uuid(requests[first]));
  EXPECT_NE(requests[first], requests[second]);
  begin();
  const auto answer = polled(device, poll_of(device, at, epoch));
  ASSERT_EQ(answer.lines.size(), 5U);
  const auto asked = json::parse(answer.lines[2]);
  EXPECT_EQ(asked["kind"], "run");
  EXPECT_EQ(asked["taskId"], first);
  EXPECT_EQ(asked["runs"], 0);
  EXPECT_EQ(asked["request"], requests[first]) << "the device sees from it whether it did that one";
  EXPECT_EQ(json::parse(answer.lines[3])["runs"], 1);
  EXPECT_EQ(json::parse(answer.lines[3])["request"], requests[second]);
  EXPECT_EQ(json::parse(answer.lines[4])["kind"], "pause");
}

TEST_F(NewEpoch, WhatARecurringTaskWentThroughComesBack) {
  const auto id = held_every_minute();
  run_once(id, 1, 1);
  begin();
  auto now = held(id, TaskStatus::running);
  now.state.run_count = 6;
  now.state.occurrence = 9;
  now.state.missed_count = 3;
  std::vector<agenttask::Run> runs;
  for (std::int64_t run = 1; run <= 5; ++run)
    runs.push_back({id, run, RunStatus::complete, "", run, run + 1, R"({"success":true})", run, ""});
  runs.push_back({id, 6, RunStatus::running, "", 6, {}, "", 9, ""});
  tell({CreatedReport{now, runs, true}, SnapshotEndReport{1}});
  EXPECT_EQ(task(id)["status"], "running");
  EXPECT_EQ(task(id)["occurrence"], 9);
  EXPECT_EQ(task(id)["missedCount"], 3);
  EXPECT_EQ(ok("GET", path(id, "/runs"))["runs"].size(), 6U);
}

TEST_F(RecurringApi, OnlyTheNewestRunsAreKept) {
  const auto id = held_every_minute();
  const auto once = sent_task();
  report(device, {StartedReport{once, 1, 5}, ended(once, TaskStatus::complete)});
  for (std::int64_t run = 1; run <= 30; ++run) {
    report(device, {StartedReport{id, run, clock.wall(), run, {}},
                    OutputReport{id, run, {OutputStream::standard_output, 0, "x"}}});
    auto state = held(id, TaskStatus::sent).state;
    report(device,
           {EndedReport{id, agenttask::Run{id, run, RunStatus::complete, "", 5, 6, R"({"success":true})"},
                        state}});
  }
  report(device, {StartedReport{id, 31, clock.wall(), 31, {}}});
  const auto trimmed = [&](std::int64_t keep) {
    bool more = false;
    EXPECT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
      more = trim_runs(writes, keep);
      return {};
    }));
    return more;
  };
  EXPECT_FALSE(trimmed(10));
  auto page = ok("GET", path(id, "/runs?limit=1000"));
  ASSERT_EQ(page["runs"].size(), 10U);
  EXPECT_EQ(page["runs"][0]["run"], 31);
  EXPECT_EQ(page["runs"][9]["run"], 22);
  EXPECT_TRUE(store->read().value()->output(id, 21).empty());
  EXPECT_EQ(store->read().value()->output(id, 22).size(), 1U);
  EXPECT_EQ(task(id)["runCount"], 31);
  EXPECT_EQ(ok("GET", path(once, "/runs"))["runs"].size(), 1U);
  EXPECT_TRUE(store->read().value()->tasks_with_many_runs(10, 10).empty()) << "it is not looked at again";
  EXPECT_FALSE(trimmed(1));
  EXPECT_EQ(ok("GET", path(id, "/runs"))["runs"].size(), 1U);
}

TEST_F(RecurringApi, ManyOldRunsGoInPiecesAndOneThatRunsStays) {
  const auto id = held_every_minute();
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    auto record = writes.task(id, WithData::no).value();
    record.task.state.run_count = 130;
    writes.update_task_state(record);
    for (std::int64_t run = 1; run <= 130; ++run)
      writes.put_run({id, run, run == 3 ? RunStatus::running : RunStatus::complete, "", run, {}, "", 0, ""},
                     {});
    return {};
  }));
  int jobs = 0;
  for (bool more = true; more && jobs < 10; ++jobs) {
    ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
      more = trim_runs(writes, 10);
      return {};
    }));
  }
  EXPECT_EQ(jobs, 3);
  const auto runs = store->read().value()->runs(id);
  ASSERT_EQ(runs.size(), 11U);
  EXPECT_EQ(runs[0].number, 3);
}

TEST_F(RecurringApi, AFloodOfRunsIsBoundedAtOnce) {
  const auto id = held_every_minute();
  for (std::int64_t run = 1; run <= 1000; run += 100) {
    std::vector<decltype(Report::body)> bodies;
    auto state = held(id, TaskStatus::sent).state;
    for (std::int64_t n = run; n < run + 100; ++n) {
      bodies.emplace_back(StartedReport{id, n, clock.wall(), n, {}});
      bodies.emplace_back(EndedReport{
          id, agenttask::Run{id, n, RunStatus::complete, "", 5, 6, R"({"success":true})"}, state});
    }
    report(device, bodies);
  }
  const auto kept = store->read().value()->runs(id);
  EXPECT_LE(kept.size(), 2U * 200 + 1);
  EXPECT_GE(kept.size(), 200U);
  EXPECT_EQ(kept.back().number, 1000);
  // A number from nowhere does no harm.
  report(device, {StartedReport{id, INT64_MAX, clock.wall(), 5, {}}});
  EXPECT_EQ(task(id)["runCount"], INT64_MAX);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
      (void)trim_runs(writes, 200);
      return {};
    }));
  }
  EXPECT_TRUE(store->read().value()->tasks_with_many_runs(200, 10).empty());
}

}  // namespace
}  // namespace agenttask::server::test
