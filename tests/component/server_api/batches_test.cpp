#include "server/store/batches.hpp"

#include <set>

#include "platform/base/ids.hpp"
#include "server/store/batch_carrier.hpp"
#include "server/store/housekeeping.hpp"
#include "server/store/lineage.hpp"
#include "tests/component/server_api/api_fixture.hpp"

// One task for many devices, as operators ask for it.
namespace agenttask::server::test {
namespace {

class BatchesApi : public ApiTest {
 protected:
  BatchesApi() {
    alpha = enroll("alpha", {{"labels", {{"site", "a"}, {"role", "web"}}}});
    beta = enroll("beta", {{"labels", {{"site", "a"}}}});
    gamma = enroll("gamma", {{"labels", {{"site", "b"}}}});
  }
  static json body_for(json target) {
    return {{"type", "echo"}, {"data", {{"message", "x"}}}, {"target", std::move(target)}};
  }
  json accept(json target) { return ok("POST", "/v1/tasks", body_for(std::move(target)), 202); }
  json refused(json target, int status, const std::string& code) {
    return problem("POST", "/v1/tasks", body_for(std::move(target)), status, code);
  }
  static std::string path(const json& batch, const std::string& more = {}) {
    return "/v1/batches/" + batch["id"].get<std::string>() + more;
  }
  /// The node of each task of a batch.
  std::multiset<std::string> nodes_of(const json& batch) {
    std::multiset<std::string> nodes;
    const auto page = ok("GET", "/v1/tasks?batch=" + batch["id"].get<std::string>());
    for (const auto& task : page["tasks"]) {
      EXPECT_EQ(task["batchId"], batch["id"]);
      nodes.insert(task["nodeId"].get<std::string>());
    }
    return nodes;
  }
  /// So many more nodes, as if they had enrolled.
  void add_nodes(std::size_t count) {
    ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
      for (std::size_t i = 0; i < count; ++i) {
        NodeRecord record;
        record.id = make_uuid(clock.wall());
        record.name = "n" + std::to_string(i);
        writes.insert_node(record);
      }
      return {};
    }));
  }
  void carry_on() {
    BatchCarrier carrier(*store, *writer, clock, logger);
    ASSERT_TRUE(carrier.carry_on());
  }
  std::size_t batch_count() { return ok("GET", "/v1/batches")["batches"].size(); }

  EnrolledDevice alpha, beta, gamma;
  using Nodes = std::multiset<std::string>;
};

TEST_F(BatchesApi, EveryTargetGetsOneTaskWithAllThatWasAsked) {
  json body = body_for({{"all", true}});
  body["tags"] = {"red"};
  body["metadata"] = {{"ticket", 7}};
  body["description"] = "for all";
  const auto batch = ok("POST", "/v1/tasks", body, 202);
  EXPECT_EQ(batch["targets"], 3);
  EXPECT_EQ(batch["counts"]["pending"], 3);
  EXPECT_EQ(batch["ended"], false);
  EXPECT_EQ(batch["target"], json({{"all", true}}));
  EXPECT_EQ(batch["options"]["expiresAt"], clock.wall() + limits::kDefaultExpiry);
  EXPECT_FALSE(batch.contains("data"));
  EXPECT_EQ(nodes_of(batch), (Nodes{alpha.id, beta.id, gamma.id}));
  const auto answer = polled(beta, poll_of(beta));
  ASSERT_EQ(answer.lines.size(), 1U);
  const auto given = json::parse(answer.lines[0])["task"];
  EXPECT_EQ(given["nodeId"], beta.id);
  EXPECT_EQ(given["data"], json({{"message", "x"}}));
  EXPECT_EQ(given["metadata"], json({{"ticket", 7}}));
  polled(beta, poll_of(beta, after(answer)));
  const auto now = ok("GET", path(batch));
  EXPECT_EQ(now["counts"]["sent"], 1);
  EXPECT_EQ(now["counts"]["pending"], 2);
  EXPECT_EQ(now["data"], json({{"message", "x"}}));
  EXPECT_EQ(now["tasks"].size(), 3U);
  const auto task = ok("GET", "/v1/tasks/" + given["id"].get<std::string>());
  EXPECT_EQ(task["batchId"], batch["id"]);
  EXPECT_EQ(task["description"], "for all");
  EXPECT_EQ(polled(beta, poll_of(beta, after(answer))).lines.size(), 0U) << "once";
}

TEST_F(BatchesApi, LabelsAndNamesSayWhoItIsFor) {
  EXPECT_EQ(nodes_of(accept({{"labels", {{"site", "a"}}}})), (Nodes{alpha.id, beta.id}));
  EXPECT_EQ(nodes_of(accept({{"labels", {{"site", "a"}, {"role", "web"}}}})), (Nodes{alpha.id}));
  const auto named = accept({{"nodes", {"gamma", alpha.id, "alpha", gamma.id}}});
  EXPECT_EQ(nodes_of(named), (Nodes{alpha.id, gamma.id})) << "each once, however it was named";
  EXPECT_EQ(named["targets"], 2);
  EXPECT_EQ(named["target"], json({{"nodes", 4}}));
}

TEST_F(BatchesApi, TheTargetsAreFixedWhenItIsAccepted) {
  const auto batch = accept({{"labels", {{"site", "a"}}}});
  const auto later = enroll("later", {{"labels", {{"site", "a"}}}});
  ok("PATCH", "/v1/nodes/" + beta.id, {{"labels", {{"site", nullptr}}}});
  EXPECT_EQ(nodes_of(batch), (Nodes{alpha.id, beta.id}));
  EXPECT_EQ(polled(later, poll_of(later)).lines.size(), 0U);
  EXPECT_EQ(polled(beta, poll_of(beta)).lines.size(), 1U);
}

TEST_F(BatchesApi, ATargetThatCannotBeMetChangesNothing) {
  const auto twin = enroll("other");
  ok("PATCH", "/v1/nodes/" + twin.id, {{"name", "alpha"}});
  const auto field = [](const json& refusal) { return refusal.value("field", ""); };
  EXPECT_EQ(field(refused({{"nodes", {"beta", "nobody"}}}, 404, "unknown-node")), "target.nodes[1]");
  const auto ambiguous = refused({{"nodes", json::array({"alpha"})}}, 409, "ambiguous-node");
  EXPECT_EQ(field(ambiguous), "target.nodes[0]");
  EXPECT_EQ(ambiguous["candidates"].size(), 2U);
  ok("DELETE", "/v1/nodes/" + gamma.id);
  EXPECT_EQ(field(refused({{"nodes", {"beta", gamma.id}}}, 409, "node-revoked")), "target.nodes[1]");
  EXPECT_EQ(field(refused({{"labels", {{"site", "nowhere"}}}}, 409, "no-targets")), "target.labels");
  EXPECT_EQ(field(refused({{"labels", {{"site", "b"}}}}, 409, "no-targets")), "target.labels")
      << "its only node was revoked";
  EXPECT_EQ(task_count(), 0U);
  EXPECT_EQ(batch_count(), 0U);
}

TEST_F(BatchesApi, WhatIsNoTargetIsRefused) {
  const auto field = [&](json target) { return refused(std::move(target), 400, "invalid")["field"]; };
  EXPECT_EQ(field(json::object()), "target");
  EXPECT_EQ(field({{"nodes", json::array()}}), "target.nodes");
  EXPECT_EQ(field({{"nodes", json::array({1})}}), "target.nodes[0]");
  EXPECT_EQ(field({{"nodes", "alpha"}}), "target.nodes");
  EXPECT_EQ(field({{"labels", json::object()}}), "target.labels")
      << "an empty variable must not mean everybody";
  EXPECT_EQ(field({{"labels", {{"site", 1}}}}), "target.labels.site");
  EXPECT_EQ(field({{"labels", {{"a=b", "x"}}}}), "target.labels.a=b");
  EXPECT_EQ(field({{"all", false}}), "target.all");
  EXPECT_EQ(field({{"all", 1}}), "target.all");
  EXPECT_EQ(field({{"everybody", true}}), "target.everybody");
  for (const auto& two : {json{{"all", true}, {"nodes", json::array({"alpha"})}},
                          json{{"all", true}, {"labels", {{"site", "a"}}}},
                          json{{"nodes", json::array({"alpha"})}, {"labels", {{"site", "a"}}}}}) {
    refused(two, 400, "invalid");
  }
  json body = body_for({{"all", true}});
  body["nodeId"] = "alpha";
  EXPECT_EQ(problem("POST", "/v1/tasks", body, 400, "invalid")["field"], "nodeId");
  EXPECT_EQ(problem("POST", "/v1/tasks", {{"type", "echo"}}, 400, "invalid")["field"], "target");
  problem("POST", "/v1/tasks?limit=5", body_for({{"all", true}}), 400, "invalid");
  body = body_for({{"all", true}});
  body["type"] = "command";
  EXPECT_EQ(problem("POST", "/v1/tasks", body, 400, "invalid")["field"], "data.cmd");
  body["type"] = "echo";
  body["unheardOf"] = 1;
  EXPECT_EQ(problem("POST", "/v1/tasks", body, 400, "invalid")["field"], "unheardOf");
  EXPECT_EQ(task_count(), 0U);
  EXPECT_EQ(batch_count(), 0U);
}

TEST_F(BatchesApi, ADryRunListsTheTargetsAndWritesNothing) {
  json body = body_for({{"labels", {{"site", "a"}}}});
  body["dryRun"] = true;
  Options options{.token = admin, .headers = {{"idempotency-key", "k"}}};
  const auto listed = json::parse(call("POST", "/v1/tasks", body.dump(), options).body);
  EXPECT_EQ(listed["targets"], 2);
  std::set<std::string> names;
  for (const auto& node : listed["nodes"]) names.insert(node["name"].get<std::string>());
  EXPECT_EQ(names, (std::set<std::string>{"alpha", "beta"}));
  EXPECT_TRUE(listed["nextCursor"].is_null());
  body["target"] = {{"all", true}};
  std::vector<std::string> ids;
  json page = ok("POST", "/v1/tasks?limit=2", body);
  EXPECT_EQ(page["targets"], 3);
  for (const auto& node : page["nodes"]) ids.push_back(node["id"].get<std::string>());
  page = ok("POST", "/v1/tasks?limit=2&cursor=" + page["nextCursor"].get<std::string>(), body);
  for (const auto& node : page["nodes"]) ids.push_back(node["id"].get<std::string>());
  EXPECT_TRUE(page["nextCursor"].is_null());
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()),
            (std::set<std::string>{alpha.id, beta.id, gamma.id}));
  EXPECT_TRUE(std::is_sorted(ids.rbegin(), ids.rend()));
  body["target"] = {{"labels", {{"site", "nowhere"}}}};
  EXPECT_EQ(ok("POST", "/v1/tasks", body)["targets"], 0);
  body["target"] = {{"nodes", json::array({"nobody"})}};
  problem("POST", "/v1/tasks", body, 404, "unknown-node");
  EXPECT_EQ(task_count(), 0U);
  EXPECT_EQ(batch_count(), 0U);
  body["target"] = {{"all", true}};
  body["dryRun"] = false;
  options.headers["idempotency-key"] = "k";
  EXPECT_EQ(call("POST", "/v1/tasks", body.dump(), options).status, 202) << "the key was not used up";
}

TEST_F(BatchesApi, TheSameIdIsTheSameBatchAndAnotherRequestAConflict) {
  json body = body_for({{"labels", {{"site", "a"}}}});
  body["id"] = make_uuid(clock.wall());
  const auto first = ok("POST", "/v1/tasks", body, 202);
  EXPECT_EQ(first["id"], body["id"]);
  enroll("later", {{"labels", {{"site", "a"}}}});
  clock.advance(std::chrono::seconds(5));
  const auto again = ok("POST", "/v1/tasks", body);
  EXPECT_EQ(again["addTime"], first["addTime"]);
  EXPECT_EQ(again["targets"], 2);
  json other = body;
  other["data"]["message"] = "y";
  EXPECT_EQ(problem("POST", "/v1/tasks", other, 409, "conflict")["field"], "id");
  other = body;
  other["target"] = {{"all", true}};
  problem("POST", "/v1/tasks", other, 409, "conflict");
  EXPECT_EQ(task_count(), 2U);
  EXPECT_EQ(batch_count(), 1U);
}

TEST_F(BatchesApi, AnIdempotencyKeyIsTheSameBatch) {
  Options options{.token = admin, .headers = {{"idempotency-key", "k-1"}}};
  const std::string body = body_for({{"all", true}}).dump();
  const auto first = call("POST", "/v1/tasks", body, options);
  EXPECT_EQ(first.status, 202);
  const auto again = call("POST", "/v1/tasks", body, options);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(json::parse(again.body)["id"], json::parse(first.body)["id"]);
  const auto other = call("POST", "/v1/tasks", body_for({{"labels", {{"site", "a"}}}}).dump(), options);
  EXPECT_EQ(json::parse(other.body)["code"], "idempotency-conflict");
  const auto single = call("POST", "/v1/nodes/alpha/tasks", R"({"type":"echo"})", options);
  EXPECT_EQ(json::parse(single.body)["code"], "idempotency-conflict") << "keys are of both kinds of requests";
  options.token = make_operator(Role::operator_);
  EXPECT_EQ(call("POST", "/v1/tasks", body, options).status, 202);
  EXPECT_EQ(task_count(), 6U);
}

TEST_F(BatchesApi, AfterItsTasksWerePurgedItIsStillTheSameBatch) {
  json body = body_for({{"all", true}});
  body["id"] = make_uuid(clock.wall());
  const auto batch = ok("POST", "/v1/tasks", body, 202);
  ok("POST", path(batch, "/cancel"));
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    EXPECT_FALSE(purge(writes, {clock.wall(), 0}, {}, 10));
    EXPECT_FALSE(purge(writes, {clock.wall(), 31 * limits::kDay}, {}, 10));
    return {};
  }));
  problem("GET", path(batch), nullptr, 404, "unknown-batch");
  problem("GET", "/v1/tasks/" + batch["id"].get<std::string>(), nullptr, 404, "unknown-task");
  EXPECT_EQ(batch_count(), 0U);
  const auto again = ok("POST", "/v1/tasks", body);
  EXPECT_EQ(again["counts"]["cancelled"], 3);
  EXPECT_EQ(again["purged"], 3);
  body["data"]["message"] = "y";
  problem("POST", "/v1/tasks", body, 409, "conflict");
  EXPECT_EQ(task_count(), 0U);
}

TEST_F(BatchesApi, QuarantinedAndHeldNodesAreTargetsAndSayWhyTheyWait) {
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    auto node = writes.node(beta.id).value();
    quarantine(writes, node, "copied", clock.wall(), logger);
    return {};
  }));
  ok("PATCH", "/v1/nodes/" + gamma.id, {{"hold", true}}, 202);
  const auto batch = accept({{"all", true}});
  EXPECT_EQ(batch["targets"], 3);
  const auto page = ok("GET", path(batch));
  for (const auto& task : page["tasks"]) {
    EXPECT_EQ(task["status"], "pending");
    EXPECT_EQ(task["reason"], task["nodeId"] == beta.id ? "quarantined" : "device-offline");
  }
}

TEST_F(BatchesApi, ListsGoByThem) {
  const auto first = accept({{"all", true}});
  add_task(alpha.id);
  const auto second = accept({{"labels", {{"site", "a"}}}});
  EXPECT_EQ(nodes_of(first).size(), 3U);
  EXPECT_EQ(nodes_of(second).size(), 2U);
  const std::string one = "/v1/tasks?batch=" + first["id"].get<std::string>();
  EXPECT_EQ(ok("GET", one + "&node=alpha")["tasks"].size(), 1U);
  EXPECT_EQ(ok("GET", one + "&status=complete")["tasks"].size(), 0U);
  EXPECT_EQ(ok("GET", "/v1/tasks?batch=" + make_uuid(1))["tasks"].size(), 0U);
  EXPECT_EQ(ok("GET", "/v1/tasks?batch=x")["tasks"].size(), 0U);
  const auto page = ok("GET", "/v1/batches?limit=1");
  EXPECT_EQ(page["batches"][0]["id"], second["id"]);
  const auto rest = ok("GET", "/v1/batches?limit=1&cursor=" + page["nextCursor"].get<std::string>());
  EXPECT_EQ(rest["batches"][0]["id"], first["id"]);
  EXPECT_TRUE(rest["nextCursor"].is_null());
  auto part = ok("GET", path(first) + "?limit=2");
  EXPECT_EQ(part["tasks"].size(), 2U);
  part = ok("GET", path(first) + "?limit=2&cursor=" + part["nextCursor"].get<std::string>());
  EXPECT_EQ(part["tasks"].size(), 1U);
  EXPECT_TRUE(part["nextCursor"].is_null());
  EXPECT_EQ(ok("GET", path(first) + "?status=failed")["tasks"].size(), 0U);
  EXPECT_EQ(ok("GET", path(first) + "?status=bogus")["tasks"].size(), 0U);
  problem("GET", "/v1/batches/" + make_uuid(1), nullptr, 404, "unknown-batch");
  problem("GET", path(first) + "?limit=0", nullptr, 400, "invalid");
}

TEST_F(BatchesApi, ADeletedTaskIsCountedAndInTheList) {
  const auto batch = accept({{"all", true}});
  const auto id = ok("GET", path(batch))["tasks"][0]["id"].get<std::string>();
  ok("DELETE", "/v1/tasks/" + id);
  const auto now = ok("GET", path(batch));
  EXPECT_EQ(now["counts"]["cancelled"], 1);
  EXPECT_EQ(now["tasks"].size(), 3U);
}

TEST_F(BatchesApi, ACancelTellsTheTruthOfEach) {
  const auto batch = accept({{"all", true}});
  const auto answer = polled(alpha, poll_of(alpha));
  polled(alpha, poll_of(alpha, after(answer)));
  const auto asked = ok("POST", path(batch, "/cancel"), nullptr, 202);
  EXPECT_EQ(asked["counts"]["cancelled"], 2) << "never offered";
  EXPECT_EQ(asked["counts"]["sent"], 1) << "its device has to say";
  EXPECT_EQ(asked["cancelRequestedAt"], clock.wall());
  const auto id = json::parse(answer.lines[0])["task"]["id"].get<std::string>();
  EXPECT_EQ(ok("GET", "/v1/tasks/" + id)["requested"], json::array({"cancel"}));
  TaskState state;
  state.status = TaskStatus::cancelled;
  state.end_time = 6;
  report(alpha, {EndedReport{id, {}, state}});
  EXPECT_EQ(ok("GET", path(batch))["ended"], true);
  const auto over = problem("POST", path(batch, "/cancel"), nullptr, 409, "already-ended");
  EXPECT_EQ(over["batch"]["counts"]["cancelled"], 3);
  problem("POST", path(batch, "/cancel"), {{"why", "x"}}, 400, "invalid");
  problem("POST", "/v1/batches/" + make_uuid(1) + "/cancel", nullptr, 404, "unknown-batch");
  const auto another = accept({{"all", true}});
  EXPECT_EQ(ok("POST", path(another, "/cancel"))["ended"], true) << "all at once";
}

TEST_F(BatchesApi, WhoWaitsHearsTheLastEnd) {
  const auto batch = accept({{"nodes", {"alpha", "beta"}}});
  const auto asked = request("GET", path(batch), "", {.token = admin, .query = {{"wait", "5000"}}});
  const auto parked = std::get<Wait>(evaluate(asked));
  EXPECT_EQ(parked.keys.front(), "batch:" + batch["id"].get<std::string>());
  touched.clear();
  const auto page = ok("GET", path(batch));
  for (const auto& task : page["tasks"]) {
    EXPECT_EQ(std::count(touched.begin(), touched.end(), parked.keys.front()), 0);
    ok("POST", "/v1/tasks/" + task["id"].get<std::string>() + "/cancel");
  }
  EXPECT_EQ(std::count(touched.begin(), touched.end(), parked.keys.front()), 1);
  EXPECT_EQ(json::parse(std::get<Response>(evaluate(asked)).body)["ended"], true);
}

TEST_F(BatchesApi, AnAnswerWaitsForTheTasksAndThePromiseDoesNot) {
  add_nodes(2 * kBatchPart);
  const auto asked = request("POST", "/v1/tasks", body_for({{"all", true}}).dump(), {.token = admin});
  const auto parked = std::get<Wait>(evaluate(asked));
  auto batches = ok("GET", "/v1/batches")["batches"];
  ASSERT_EQ(batches.size(), 1U);
  const auto count = static_cast<std::int64_t>(2 * kBatchPart + 3);
  EXPECT_EQ(batches[0]["targets"], count);
  EXPECT_EQ(batches[0]["counts"]["pending"], count);
  EXPECT_EQ(batches[0]["preparing"], count - static_cast<std::int64_t>(kBatchPart));
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(asked)))
      << "woken early, it waits on, and makes no second one";
  touched.clear();
  carry_on();
  EXPECT_EQ(std::count(touched.begin(), touched.end(), parked.keys.front()), 1);
  const auto response = std::get<Response>(evaluate(asked));
  EXPECT_EQ(response.status, 202);
  EXPECT_FALSE(json::parse(response.body).contains("preparing"));
  EXPECT_EQ(batch_count(), 1U);
  Nodes nodes;
  std::string cursor;
  for (;;) {
    const auto page = ok("GET", path(batches[0]) + "?limit=1000" + cursor);
    for (const auto& task : page["tasks"]) nodes.insert(task["nodeId"].get<std::string>());
    if (page["nextCursor"].is_null()) break;
    cursor = "&cursor=" + page["nextCursor"].get<std::string>();
  }
  EXPECT_EQ(nodes.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(std::set<std::string>(nodes.begin(), nodes.end()).size(), nodes.size());
  // And so is its cancel.
  const auto cancel = request("POST", path(batches[0], "/cancel"), "", {.token = admin});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(cancel)));
  carry_on();
  const auto done = std::get<Response>(evaluate(cancel));
  EXPECT_EQ(done.status, 200);
  EXPECT_EQ(json::parse(done.body)["counts"]["cancelled"], count);
}

TEST_F(BatchesApi, WhoseTimeIsOverHearsThatItIsAccepted) {
  add_nodes(kBatchPart);
  const auto asked = request("POST", "/v1/tasks", body_for({{"all", true}}).dump(), {.token = admin});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(asked)));
  asked->may_wait = false;
  const auto response = std::get<Response>(evaluate(asked));
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(json::parse(response.body)["preparing"], 3);
}

TEST_F(BatchesApi, ViewersLookOnly) {
  const auto batch = accept({{"all", true}});
  const auto viewer = as(make_operator(Role::viewer));
  EXPECT_EQ(call("GET", "/v1/batches", "", viewer).status, 200);
  EXPECT_EQ(call("GET", path(batch), "", viewer).status, 200);
  EXPECT_EQ(call("POST", path(batch, "/cancel"), "", viewer).status, 403);
  EXPECT_EQ(call("POST", "/v1/tasks", body_for({{"all", true}}).dump(), viewer).status, 403);
  json dry = body_for({{"all", true}});
  dry["dryRun"] = true;
  EXPECT_EQ(call("POST", "/v1/tasks", dry.dump(), viewer).status, 403);
}

}  // namespace
}  // namespace agenttask::server::test
