#include "platform/base/ids.hpp"
#include "tests/component/server_api/devices_fixture.hpp"

namespace agenttask::server::test {
namespace {

TEST_F(DevicesApi, APollWaitsUntilThereIsSomethingToSay) {
  auto asked = poll_of(device);
  asked.wait = 55'000;
  polled(device, asked);  // the first stores what it says of the device
  const auto request_ =
      request("POST", "/v1/device/poll", encode(asked), {.certificate = device.certificate});
  auto outcome = evaluate(request_);
  ASSERT_TRUE(std::holds_alternative<Wait>(outcome));
  EXPECT_EQ(std::get<Wait>(outcome).keys, std::vector<std::string>{"node:" + device.id});
  EXPECT_EQ(std::get<Wait>(outcome).until, request_->received + std::chrono::milliseconds(55'000));
  touched.clear();
  const auto id = add_task(device.id)["id"].get<std::string>();
  EXPECT_NE(std::find(touched.begin(), touched.end(), "node:" + device.id), touched.end());
  outcome = evaluate(request_);
  const auto answer = decode_poll_answer(std::get<Response>(outcome).body).value();
  ASSERT_EQ(answer.lines.size(), 1U);
  EXPECT_EQ(json::parse(answer.lines[0])["task"]["id"], id);
  EXPECT_EQ(task(id)["status"], "pending");  // only the cursor makes it sent
  asked.wait = 0;
  asked.directives = after(answer);
  EXPECT_TRUE(polled(device, asked).lines.empty());
  EXPECT_EQ(task(id)["status"], "sent");
  EXPECT_TRUE(task(id).contains("sentTime"));
}

TEST_F(DevicesApi, WhatADeviceCanDoIsShownAsItSaidLast) {
  const auto node = [&] { return ok("GET", "/v1/nodes/" + device.id); };
  auto asked = poll_of(device);
  polled(device, asked);
  EXPECT_FALSE(node().contains("workers")) << "an agent that does not say";
  asked.workers = WorkerSummary{{"command", "echo", "GREET"}, {"solana"}, 2};
  polled(device, asked);
  asked.workers.reset();
  polled(device, asked);
  EXPECT_EQ(node()["workers"], (json{"command", "echo", "GREET"}));
  EXPECT_EQ(node()["services"], json({"solana"}));
  EXPECT_EQ(node()["workerProblems"], 2);
  EXPECT_EQ(ok("GET", "/v1/nodes")["nodes"][0]["workers"].size(), 3U);
  asked.workers = WorkerSummary{{"echo"}, {}, 0};
  polled(device, asked);
  EXPECT_EQ(node()["workers"], json({"echo"}));
  EXPECT_EQ(node()["services"], json::array());
  asked.workers.reset();
  asked.version = "0.0.1";
  polled(device, asked);
  EXPECT_FALSE(node().contains("workers")) << "an older agent took its place";
}

TEST_F(DevicesApi, APollThatOnlyAcknowledgesIsHeld) {
  const auto id = add_task(device.id)["id"].get<std::string>();
  auto asked = poll_of(device, after(polled(device, poll_of(device))));
  asked.wait = 1000;
  ASSERT_TRUE(std::holds_alternative<Wait>(poll(device, asked, true)));
  EXPECT_EQ(task(id)["status"], "sent");
}

TEST_F(DevicesApi, LostAnswersAreGivenAgainByteByByte) {
  add_task(device.id, {{"type", "echo"},
                       {"data", {{"n", 0.1}, {"big", 9007199254740993}, {"text", "\u00e9\u4e2d"}}},
                       {"tags", {"b", "a"}}});
  const auto first = polled(device, poll_of(device));
  ok("PATCH", "/v1/tasks/" + json::parse(first.lines[0])["task"]["id"].get<std::string>(),
     {{"description", "later"}, {"tags", {"c"}}}, 202);
  const auto second = polled(device, poll_of(device));
  ASSERT_EQ(second.lines.size(), 2U);
  EXPECT_EQ(second.lines[0], first.lines[0]);
  EXPECT_EQ(second.after, first.after);
  const auto third = polled(device, poll_of(device));
  EXPECT_EQ(third.lines, second.lines);
}

TEST_F(DevicesApi, ManyDirectivesComeInBatchesAndOnlyWhatIsSentIsOffered) {
  std::vector<std::string> ids;
  ids.reserve(limits::kDirectivesInPoll + 3);
  for (std::size_t i = 0; i < limits::kDirectivesInPoll + 3; ++i)
    ids.push_back(add_task(device.id)["id"].get<std::string>());
  const auto first = polled(device, poll_of(device));
  EXPECT_EQ(first.lines.size(), limits::kDirectivesInPoll);
  // The last is not on its way: the server decides alone. The first is.
  EXPECT_EQ(ok("POST", "/v1/tasks/" + ids.back() + "/cancel")["status"], "cancelled");
  ok("POST", "/v1/tasks/" + ids.front() + "/cancel", nullptr, 202);
  const auto second = polled(device, poll_of(device, after(first)));
  EXPECT_EQ(second.lines.size(), 3U);
}

TEST_F(DevicesApi, LargeDirectivesAreBoundedByBytes) {
  for (int i = 0; i < 10; ++i)
    add_task(device.id, {{"type", "echo"}, {"data", {{"a", std::string(1'000'000, 'x')}}}});
  std::size_t lines = 0;
  Cursor at;
  while (lines < 10) {
    const auto answer = polled(device, poll_of(device, at));
    ASSERT_FALSE(answer.lines.empty());
    EXPECT_LE(encode(answer).size(), limits::kStreamBodyBytes);
    lines += answer.lines.size();
    at = after(answer);
  }
  EXPECT_EQ(lines, 10U);
}

TEST_F(DevicesApi, ALatePollSaysNothingAndAForeignPastOpensANewEpoch) {
  const auto id = sent_task();
  // A late poll, from before the last acknowledged directive or from an older epoch, says nothing and changes
  // nothing.
  const auto zero = polled(device, poll_of(device, {}, 0));
  EXPECT_FALSE(zero.resync);
  EXPECT_TRUE(zero.lines.empty());
  const auto late = polled(device, poll_of(device, {}));
  EXPECT_FALSE(late.resync);
  EXPECT_TRUE(late.lines.empty());
  // Another chain at the same number.
  auto forged = poll_of(device, Cursor{cursor.sequence, std::string(64, 'a')});
  const auto fork = polled(device, forged);
  EXPECT_TRUE(fork.resync);
  EXPECT_EQ(fork.epoch, 2);
  const auto again = polled(device, poll_of(device, {}, 2));
  ASSERT_EQ(again.lines.size(), 1U);
  EXPECT_EQ(json::parse(again.lines[0])["task"]["id"], id);
  // Ahead of what was offered; reports that the server does not have; a higher epoch.
  clock.advance(std::chrono::seconds(10));
  EXPECT_EQ(polled(device, poll_of(device, Cursor{99, std::string(64, 'a')}, 2)).epoch, 3);
  clock.advance(std::chrono::seconds(10));
  auto ahead = poll_of(device, {}, 3);
  ahead.reports = Cursor{5, std::string(64, 'b')};
  EXPECT_EQ(polled(device, ahead).epoch, 4);
  clock.advance(std::chrono::seconds(10));
  EXPECT_EQ(polled(device, poll_of(device, {}, 10)).epoch, 11);
}

TEST_F(DevicesApi, ReportsAreAppliedOnceWhateverIsRepeated) {
  const auto id = sent_task();
  const std::string incarnation = poll_of(device).incarnation;
  ReportBatch batch{protocol_version(), 1, incarnation, {}, {}};
  batch.lines = {encode(Report{1, StartedReport{id, 1, 5}}),
                 encode(Report{2, OutputReport{id, 1, {OutputStream::standard_output, 0, "x"}}})};
  const auto post = [&](const ReportBatch& body) {
    const auto response =
        call("POST", "/v1/device/reports", encode(body), {.certificate = device.certificate});
    EXPECT_EQ(response.status, 200) << response.body;
    return decode_report_answer(response.body).value();
  };
  const auto first = post(batch);
  EXPECT_EQ(first.reports.sequence, 2);
  EXPECT_EQ(post(batch).reports, first.reports);
  batch.lines.push_back(encode(Report{3, ended(id, TaskStatus::complete)}));
  EXPECT_EQ(post(batch).reports.sequence, 3);
  EXPECT_EQ(task(id)["status"], "complete");
  EXPECT_EQ(task(id)["runCount"], 1);
  // An old batch that arrives late; then one whose past differs.
  batch.lines.resize(1);
  EXPECT_EQ(post(batch).reports.sequence, 3);
  ReportBatch other{protocol_version(),
                    1,
                    incarnation,
                    Cursor{3, std::string(64, 'c')},
                    {encode(Report{4, StartedReport{id, 2, 5}})}};
  const auto fork = post(other);
  EXPECT_TRUE(fork.resync);
  EXPECT_EQ(fork.epoch, 2);
  EXPECT_EQ(task(id)["runCount"], 1);
}

TEST_F(DevicesApi, WhatIsNoStreamIsRefusedAndChangesNothing) {
  const auto id = sent_task();
  const auto post = [&](const std::string& body) {
    return call("POST", "/v1/device/reports", body, {.certificate = device.certificate}).status;
  };
  const std::string head = encode(ReportBatch{protocol_version(), 1, poll_of(device).incarnation, {}, {}});
  const std::string started = encode(Report{1, StartedReport{id, 1, 5}}) + "\n";
  EXPECT_EQ(post(""), 400);
  EXPECT_EQ(post("{}"), 400);
  EXPECT_EQ(post(head + started + "not json\n"), 400);
  EXPECT_EQ(post(head + started + encode(Report{3, StartedReport{id, 1, 5}})), 400);  // a gap
  EXPECT_EQ(post(head + started + "\n"), 400);
  EXPECT_EQ(post(head + started + "{\"kind\":\"started\"}\n"), 400);
  EXPECT_EQ(task(id)["status"], "sent");
  const json foreign = {
      {"protocol", "2.0"}, {"epoch", 1}, {"incarnation", "i"}, {"after", {{"sequence", 0}, {"chain", ""}}}};
  EXPECT_EQ(post(foreign.dump() + "\n" + started), 422);
  auto asked = poll_of(device);
  asked.protocol = "2.0";
  EXPECT_EQ(std::get<Response>(poll(device, asked)).status, 422);
  EXPECT_EQ(call("POST", "/v1/device/poll", "{", {.certificate = device.certificate}).status, 400);
}

TEST_F(DevicesApi, AnEndNeverChanges) {
  const auto id = sent_task();
  report(device, {StartedReport{id, 1, 5}, ended(id, TaskStatus::complete)});
  const auto before = task(id);
  report(device, {StartedReport{id, 2, 5}, ended(id, TaskStatus::failed, 2),
                  OutputReport{id, 1, {OutputStream::standard_output, 0, "x"}}});
  EXPECT_EQ(task(id), before);
  EXPECT_EQ(ok("GET", "/v1/tasks/" + id + "/runs")["runs"].size(), 1U);
}

TEST_F(DevicesApi, InventedStatusesAndKindsPassWithoutEffect) {
  const auto id = sent_task();
  Cursor at = report_cursors[device.id];
  ReportBatch batch{protocol_version(), 1, poll_of(device).incarnation, at, {}};
  const auto line = [&](json body) {
    body["sequence"] = ++at.sequence;
    batch.lines.push_back(body.dump());
  };
  const json state = {{"status", "finished"}, {"addTime", 1}, {"updatedAt", 1}, {"runCount", 1}};
  line({{"kind", "ended"}, {"taskId", id}, {"state", state}});
  line({{"kind", "exploded"}, {"taskId", id}});
  line({{"kind", "ended"},
        {"taskId", id},
        {"state", {{"status", "pending"}, {"addTime", 1}, {"updatedAt", 1}, {"runCount", 1}}}});
  line({{"kind", "ended"},
        {"taskId", id},
        {"state", {{"status", "complete"}, {"addTime", 1}, {"updatedAt", 1}, {"runCount", 1}}}});
  const auto response =
      call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate});
  EXPECT_EQ(decode_report_answer(response.body).value().reports.sequence, 4);
  EXPECT_EQ(task(id)["status"], "sent");  // complete without a run is invented too
}

TEST_F(DevicesApi, ARetryRunsAgainAndKeepsEveryRun) {
  const auto id = sent_task();
  TaskState again;
  again.status = TaskStatus::sent;
  again.reason = reason::kRetryBackoff;
  again.next_run_at = 99;
  report(device,
         {StartedReport{id, 1, 5},
          EndedReport{id, agenttask::Run{id, 1, RunStatus::failed, "timeout", 5, 6, "{\"success\":false}"},
                      again}});
  EXPECT_EQ(task(id)["status"], "sent");
  EXPECT_EQ(task(id)["reason"], "retry-backoff");
  EXPECT_EQ(task(id)["nextRunAt"], 99);
  report(device, {StartedReport{id, 2, 7}});
  EXPECT_EQ(task(id)["status"], "running");
  EXPECT_FALSE(task(id).contains("reason"));
  report(device, {ended(id, TaskStatus::complete, 2)});
  EXPECT_EQ(task(id)["runCount"], 2);
  const auto runs = ok("GET", "/v1/tasks/" + id + "/runs")["runs"];
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0]["run"], 2);
  EXPECT_EQ(runs[1]["reason"], "timeout");
}

TEST_F(DevicesApi, AReportImpliesThatTheTaskArrived) {
  const auto id = add_task(device.id)["id"].get<std::string>();
  polled(device, poll_of(device));
  report(device, {StartedReport{id, 1, 5}});
  EXPECT_EQ(task(id)["status"], "running");
  EXPECT_TRUE(task(id).contains("sentTime"));
}

TEST_F(DevicesApi, TheTimesOfATaskAreInOrder) {
  const auto id = add_task(device.id)["id"].get<std::string>();
  const auto added = clock.wall();
  clock.advance(std::chrono::milliseconds(10));
  deliver();
  report(device, {StartedReport{id, 1, added + 3}});
  EXPECT_EQ(task(id)["sentTime"], added + 3);
}

TEST_F(DevicesApi, ADeviceTouchesItsOwnTasksOnly) {
  const auto other = enroll("beta");
  const auto foreign = add_task(other.id)["id"].get<std::string>();
  polled(other, poll_of(other));
  const auto before = task(foreign);
  const auto response = report(device, {StartedReport{foreign, 1, 5}, ended(foreign, TaskStatus::complete),
                                        CreatedReport{{}, {}, true}});
  EXPECT_EQ(response.status, 200);
  Task stolen;
  stolen.spec.id = foreign;
  stolen.spec.node_id = device.id;
  stolen.spec.type = "echo";
  stolen.state.status = TaskStatus::complete;
  report(device,
         {CreatedReport{stolen, {}, true}, ChangedReport{stolen}, RefusedReport{1, foreign, "x", "y"}});
  EXPECT_EQ(task(foreign), before);
  EXPECT_TRUE(polled(device, poll_of(device)).lines.empty());
  const json live_post = {{"taskId", foreign}, {"run", 1}, {"chunks", json::array()}};
  EXPECT_EQ(call("POST", "/v1/device/output", live_post.dump(), {.certificate = device.certificate}).status,
            404);
  // Devices are no operators.
  for (const auto* path : {"/v1/tasks", "/v1/nodes", "/v1/operators"}) {
    EXPECT_EQ(call("GET", path, "", {.certificate = device.certificate}).status, 401) << path;
  }
}

TEST_F(DevicesApi, ReportsAboutUnknownTasksAreKeptAsOrphans) {
  const auto unknown = make_uuid(1);
  EXPECT_EQ(report(device, {StartedReport{unknown, 1, 5}, ended(unknown, TaskStatus::complete)}).status, 200);
  const auto lease = store->read().value();
  const auto orphans = lease->orphans(device.id);
  ASSERT_EQ(orphans.size(), 2U);
  EXPECT_EQ(orphans[0].task_id, unknown);
  EXPECT_EQ(orphans[1].kind, "ended");
  problem("GET", "/v1/tasks/" + unknown, nullptr, 404, "unknown-task");
}

TEST_F(DevicesApi, TasksMadeOnTheDeviceAppear) {
  Task local;
  local.spec.id = make_uuid(2);
  local.spec.node_id = device.id;
  local.spec.type = "echo";
  local.spec.tags = {"here"};
  local.state.status = TaskStatus::complete;
  local.state.add_time = 77;
  local.state.result = R"({"data":{"a":1},"success":true})";
  local.state.run_count = 1;
  const agenttask::Run run{local.spec.id, 1, RunStatus::complete, "", 5, 6, local.state.result};
  report(device,
         {CreatedReport{local, {run}, true},
          OutputReport{local.spec.id, 1, {OutputStream::standard_output, 0, "kept"}}, SnapshotEndReport{1}});
  const auto shown = task(local.spec.id);
  EXPECT_EQ(shown["status"], "complete");
  EXPECT_EQ(shown["addTime"], 77);
  EXPECT_EQ(shown["result"]["data"]["a"], 1);
  EXPECT_EQ(ok("GET", "/v1/tasks?tag=here")["tasks"].size(), 1U);
  EXPECT_NE(call("GET", "/v1/tasks/" + local.spec.id + "/output", "", as(admin)).body.find("kept"),
            std::string::npos);
  // The same request by an operator finds it.
  ok("POST", "/v1/nodes/" + device.id + "/tasks",
     {{"id", local.spec.id}, {"type", "echo"}, {"tags", {"here"}}});
}

TEST_F(DevicesApi, ARefusedTaskFailsAndARefusedUpdateSaysSo) {
  const auto id = sent_task();
  report(device, {RefusedReport{cursor.sequence, id, "invalid", "no such option"}});
  EXPECT_EQ(task(id)["status"], "failed");
  EXPECT_EQ(task(id)["reason"], "invalid");
  const auto other = sent_task();
  report(device, {RefusedReport{cursor.sequence + 1, other, "limit", "metadata too large"}});
  EXPECT_EQ(task(other)["status"], "sent");
  EXPECT_NE(task(other)["detail"].get<std::string>().find("metadata too large"), std::string::npos);
}

TEST_F(DevicesApi, ADeviceChangesAndDeletes) {
  const auto id = sent_task();
  auto changed = ok("PATCH", "/v1/tasks/" + id, {{"metadata", {{"k", 1}}}}, 202);
  Task there;
  there.spec.id = id;
  there.spec.node_id = device.id;
  there.spec.type = "echo";
  there.spec.metadata = R"({"k":1})";
  there.spec.options.expires_at = changed["options"]["expiresAt"].get<std::int64_t>();
  there.state.status = TaskStatus::sent;
  there.state.reason = reason::kNoWorker;
  report(device, {ChangedReport{there}});
  EXPECT_EQ(task(id)["metadata"], (json{{"k", 1}}));
  EXPECT_EQ(task(id)["data"], (json{{"message", "x"}}));
  EXPECT_EQ(task(id)["reason"], "no-worker");
  there.state.status = TaskStatus::cancelled;
  there.state.deleted_at = 9;
  report(device, {EndedReport{id, std::nullopt, there.state}});
  EXPECT_EQ(task(id)["status"], "cancelled");
  EXPECT_EQ(task(id)["deletedAt"], 9);
}

TEST_F(DevicesApi, AHostileDeviceCannotKeepMoreThanItMay) {
  const auto id =
      add_task(device.id,
               {{"type", "command"}, {"data", {{"cmd", "x"}}}, {"options", {{"maxOutputBytes", 1000}}}})["id"]
          .get<std::string>();
  deliver();
  report(device, {StartedReport{id, 1, 5}});
  for (int i = 0; i < 4; ++i) {
    report(device,
           {OutputReport{id, 1, {OutputStream::standard_output, i * 200'000, std::string(200'000, 'x')}}});
  }
  const auto lease = store->read().value();
  EXPECT_LE(lease->output_bytes(id, 1, OutputStream::standard_output), 1000 + 262'144);
  EXPECT_GE(lease->output_bytes(id, 1, OutputStream::standard_output), 200'000);
}

TEST_F(DevicesApi, ARunKeepsTheOutputLimitThatItStartedWith) {
  const auto id = add_task(device.id, {{"type", "command"},
                                       {"data", {{"cmd", "x"}}},
                                       {"options", {{"maxOutputBytes", 600'000}}}})["id"]
                      .get<std::string>();
  deliver();
  report(device, {StartedReport{id, 1, 5}});
  auto changed = ok("PATCH", "/v1/tasks/" + id, {{"options", {{"maxOutputBytes", 1000}}}}, 202);
  Task there;
  there.spec.id = id;
  there.spec.node_id = device.id;
  there.spec.type = "command";
  there.spec.options.max_output_bytes = 1000;
  there.spec.options.expires_at = changed["options"]["expiresAt"].get<std::int64_t>();
  there.state.status = TaskStatus::running;
  there.state.run_count = 1;
  there.state.start_time = 5;
  report(device, {ChangedReport{there}});
  ASSERT_EQ(task(id)["options"]["maxOutputBytes"], 1000);
  for (int i = 0; i < 3; ++i) {
    report(device,
           {OutputReport{id, 1, {OutputStream::standard_output, i * 200'000, std::string(200'000, 'x')}}});
  }
  EXPECT_EQ(store->read().value()->output_bytes(id, 1, OutputStream::standard_output), 600'000);
}

TEST_F(DevicesApi, OutputOfAnInventedRunIsNotKept) {
  const auto id = sent_task();
  report(device, {StartedReport{id, 1, 5}, OutputReport{id, 2, {OutputStream::standard_output, 0, "x"}},
                  OutputReport{id, 1, {OutputStream::standard_error, 0, "four"}},
                  OutputReport{id, 1, {OutputStream::standard_error, 0, "four"}}});
  const auto lease = store->read().value();
  EXPECT_TRUE(lease->output(id, 2).empty());
  EXPECT_EQ(lease->output_bytes(id, 1, OutputStream::standard_error), 4);
  EXPECT_EQ(lease->output_bytes(id, 1, OutputStream::standard_output), 0);
}

TEST_F(DevicesApi, ATaskThatTheDeviceCannotReadEnds) {
  const auto id = sent_task();
  report(device, {RefusedReport{cursor.sequence + 1, "", "unsupported", "no such number"}});
  EXPECT_EQ(task(id)["status"], "sent");
  report(device, {RefusedReport{cursor.sequence, "", "unsupported", "it can't be read: no such option"}});
  EXPECT_EQ(task(id)["status"], "failed");
  EXPECT_EQ(task(id)["reason"], "invalid");
  EXPECT_NE(task(id)["detail"].get<std::string>().find("no such option"), std::string::npos);
}

TEST_F(DevicesApi, HoldIsAskedForAndReported) {
  polled(device, poll_of(device));
  const auto asked = ok("PATCH", "/v1/nodes/alpha", {{"hold", true}}, 202);
  EXPECT_EQ(asked["hold"], false);
  EXPECT_EQ(asked["holdRequested"], true);
  const auto answer = polled(device, poll_of(device));
  ASSERT_EQ(answer.lines.size(), 1U);
  EXPECT_EQ(json::parse(answer.lines[0])["settings"], (json{{"hold", true}}));
  auto held = poll_of(device, after(answer));
  held.hold = true;
  polled(device, held);
  EXPECT_EQ(node()["hold"], true);
  EXPECT_FALSE(node().contains("holdRequested"));
  ok("PATCH", "/v1/nodes/alpha", {{"hold", true}}, 200);
  EXPECT_EQ(add_task(device.id)["reason"], "held");
  // Changed and changed back before the device asked: one directive, the last word.
  ok("PATCH", "/v1/nodes/alpha", {{"hold", false}}, 202);
  ok("PATCH", "/v1/nodes/alpha", {{"hold", true}}, 202);
  const auto last = polled(device, held);
  ASSERT_EQ(last.lines.size(), 2U);
}

TEST_F(DevicesApi, PresenceOffsetAndNamesAreShown) {
  EXPECT_EQ(node()["presence"], "offline");
  auto asked = poll_of(device);
  asked.name = "alpha-2";
  asked.time = clock.wall() + 60'000;
  polled(device, asked);
  EXPECT_EQ(node()["presence"], "online");
  EXPECT_EQ(node()["clockOffset"], 60'000);
  EXPECT_EQ(node()["name"], "alpha-2");
  EXPECT_EQ(node()["lastSeen"], clock.wall());
  EXPECT_EQ(node()["version"], "0.1.0");
  clock.advance(Presence::kOnlineFor);
  EXPECT_EQ(node()["presence"], "online");
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(node()["presence"], "offline");
  // The connection of a parked poll breaks: offline at once, unless it came again meanwhile.
  const auto parked =
      request("POST", "/v1/device/poll", encode(poll_of(device)), {.certificate = device.certificate});
  evaluate(parked);
  clock.advance(std::chrono::milliseconds(5));
  polled(device, poll_of(device));
  router->peer_gone(*parked);
  EXPECT_EQ(node()["presence"], "online");
  const auto latest =
      request("POST", "/v1/device/poll", encode(poll_of(device)), {.certificate = device.certificate});
  evaluate(latest);
  router->peer_gone(*latest);
  EXPECT_EQ(node()["presence"], "offline");
  ok("PATCH", "/v1/nodes/" + device.id, {{"name", "mine"}});
  polled(device, asked);
  EXPECT_EQ(node()["name"], "mine");
}

TEST_F(DevicesApi, AnotherLedgerQuarantinesTheNodeUntilItIsReleased) {
  const auto id = sent_task();
  const auto waiting = add_task(device.id)["id"].get<std::string>();
  auto held = poll_of(device, cursor);
  polled(device, held);  // takes the second task
  auto copy = poll_of(device, {}, 0);
  copy.incarnation = "of-a-lost-ledger";
  copy.wait = 55'000;
  touched.clear();
  const auto told = polled(device, copy);
  EXPECT_NE(told.quarantined.find("ledger"), std::string::npos);
  EXPECT_NE(std::find(touched.begin(), touched.end(), "node:" + device.id), touched.end());
  EXPECT_EQ(node()["quarantineReason"], told.quarantined);
  EXPECT_TRUE(node().contains("quarantinedAt"));
  for (const auto& shown : {task(id), task(waiting)}) EXPECT_EQ(shown["reason"], "quarantined");
  // Who knows it already may be held, until somebody releases it.
  copy.quarantined = true;
  const auto parked = request("POST", "/v1/device/poll", encode(copy), {.certificate = device.certificate});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(parked)));
  problem("POST", "/v1/nodes/alpha/release", {{"why", "x"}}, 400, "invalid");
  problem("POST", "/v1/nodes/nobody/release", nullptr, 404, "unknown-node");
  const auto viewer = make_operator(Role::viewer);
  EXPECT_EQ(call("POST", "/v1/nodes/alpha/release", "", as(viewer)).status, 403);
  touched.clear();
  EXPECT_FALSE(ok("POST", "/v1/nodes/alpha/release").contains("quarantinedAt"));
  EXPECT_NE(std::find(touched.begin(), touched.end(), "node:" + device.id), touched.end());
  ok("POST", "/v1/nodes/alpha/release");  // again changes nothing
  const auto resync = decode_poll_answer(std::get<Response>(evaluate(parked)).body).value();
  EXPECT_TRUE(resync.resync);
  EXPECT_EQ(resync.epoch, 2);
  EXPECT_FALSE(resync.quarantined.empty());
  ReportBatch batch{protocol_version(), 2, copy.incarnation, {}, {encode(Report{1, SnapshotEndReport{0}})}};
  EXPECT_EQ(call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate}).status,
            200);
  EXPECT_EQ(task(id)["status"], "failed");
  EXPECT_EQ(task(id)["reason"], "interrupted");
  EXPECT_EQ(task(id)["result"]["error"]["code"], "interrupted");
  copy.epoch = 2;
  copy.wait = 0;
  EXPECT_TRUE(polled(device, copy).quarantined.empty());
}

}  // namespace
}  // namespace agenttask::server::test
