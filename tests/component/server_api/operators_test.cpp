#include "platform/base/ids.hpp"
#include "tests/component/server_api/api_fixture.hpp"

namespace agenttask::server::test {
namespace {

using OperatorsApi = ApiTest;

TEST_F(OperatorsApi, RolesMayWhatTheyMay) {
  const auto device = enroll("alpha");
  const auto task = add_task(device.id)["id"].get<std::string>();
  const auto viewer = make_operator(Role::viewer);
  const auto worker = make_operator(Role::operator_);
  struct Case {
    const char* method;
    std::string path, body;
    int viewer, worker;
  };
  const std::vector<Case> cases = {{"GET", "/v1/tasks", "", 200, 200},
                                   {"GET", "/v1/tasks/" + task, "", 200, 200},
                                   {"GET", "/v1/nodes", "", 200, 200},
                                   {"POST", "/v1/nodes/alpha/tasks", R"({"type":"echo"})", 403, 201},
                                   {"PATCH", "/v1/tasks/" + task, R"({"description":"x"})", 403, 200},
                                   {"PATCH", "/v1/nodes/alpha", R"({"labels":{"a":"b"}})", 403, 200},
                                   {"POST", "/v1/tasks/" + task + "/cancel", "", 403, 200},
                                   {"DELETE", "/v1/tasks/" + task, "", 403, 200},
                                   {"GET", "/v1/operators", "", 403, 403},
                                   {"POST", "/v1/operators", R"({"role":"admin"})", 403, 403},
                                   {"POST", "/v1/enrollment-tokens", "{}", 403, 403},
                                   {"DELETE", "/v1/nodes/alpha", "", 403, 403}};
  for (const auto& each : cases) {
    EXPECT_EQ(call(each.method, each.path, each.body, as(viewer)).status, each.viewer)
        << each.method << each.path;
    EXPECT_EQ(call(each.method, each.path, each.body, as(worker)).status, each.worker)
        << each.method << each.path;
  }
}

TEST_F(OperatorsApi, BadTokensAllLookAlike) {
  const auto expiring = make_operator(Role::viewer, clock.wall() + 1000);
  EXPECT_EQ(call("GET", "/v1/tasks", "", as(expiring)).status, 200);
  clock.advance(std::chrono::seconds(1));
  const auto without = call("GET", "/v1/tasks");
  EXPECT_EQ(without.status, 401);
  EXPECT_EQ(without.headers[0].first, "WWW-Authenticate");
  for (const auto& token :
       {std::string("x"), expiring, "agt_" + std::string(43, 'a'), std::string(10'000, 'x')}) {
    EXPECT_EQ(call("GET", "/v1/tasks", "", as(token)).body, without.body);
  }
  CallOptions basic;
  basic.headers["authorization"] = "Basic " + admin;
  EXPECT_EQ(call("GET", "/v1/tasks", "", basic).body, without.body);
  basic.headers["authorization"] = "bearer " + admin;
  EXPECT_EQ(call("GET", "/v1/tasks", "", basic).status, 200);
}

TEST_F(OperatorsApi, TokensAreShownOnceAndRevoked) {
  const auto made = ok("POST", "/v1/operators", {{"label", "robot"}, {"role", "operator"}}, 201);
  const auto token = made["token"].get<std::string>();
  EXPECT_EQ(token.size(), 4U + 43U);
  EXPECT_TRUE(token.starts_with("agt_"));
  const auto list = ok("GET", "/v1/operators");
  EXPECT_EQ(list["operators"].size(), 2U);
  EXPECT_EQ(list.dump().find(token), std::string::npos);
  EXPECT_EQ(call("GET", "/v1/tasks", "", as(token)).status, 200);
  const auto path = "/v1/operators/" + made["id"].get<std::string>();
  EXPECT_TRUE(ok("DELETE", path).contains("revokedAt"));
  EXPECT_EQ(call("GET", "/v1/tasks", "", as(token)).status, 401);
  ok("DELETE", path);
  problem("DELETE", "/v1/operators/" + make_uuid(1), nullptr, 404, "unknown-operator");
  problem("POST", "/v1/operators", {{"role", "king"}}, 400, "invalid");
  problem("POST", "/v1/operators", {{"role", "admin"}, {"expiresAt", clock.wall()}}, 400, "invalid");
}

TEST_F(OperatorsApi, TheLastAdminStays) {
  const auto id = ok("GET", "/v1/operators")["operators"][0]["id"].get<std::string>();
  ok("POST", "/v1/operators", {{"role", "admin"}, {"expiresAt", clock.wall() + 1000}}, 201);
  problem("DELETE", "/v1/operators/" + id, nullptr, 409, "last-admin");
  ok("POST", "/v1/operators", {{"role", "admin"}}, 201);
  ok("DELETE", "/v1/operators/" + id);
}

TEST_F(OperatorsApi, RoutesThatAreNotThere) {
  EXPECT_EQ(problem("GET", "/v1/nothing", nullptr, 404, "unknown-route")["status"], 404);
  problem("GET", "/v1/tasks/", nullptr, 404, "unknown-route");
  problem("GET", "/v1/tasks/a/b/c", nullptr, 404, "unknown-route");
  const auto response = call("PUT", "/v1/tasks/x", "", as(admin));
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.headers.back(), (std::pair<std::string, std::string>("Allow", "GET, PATCH, DELETE")));
  problem("GET", "/v1/tasks/not-an-id", nullptr, 404, "unknown-task");
  problem("GET", "/v1/nodes/nobody", nullptr, 404, "unknown-node");
  EXPECT_EQ(call("GET", "/healthz").status, 200);
  EXPECT_EQ(call("GET", "/readyz").status, 200);
  EXPECT_EQ(call("GET", "/openapi.json").body, Router::openapi());
}

TEST_F(OperatorsApi, NodesAreFilteredAndPaged) {
  std::vector<std::string> ids;
  ids.reserve(5);
  for (int i = 0; i < 5; ++i) {
    clock.advance(std::chrono::milliseconds(1));
    ids.push_back(
        enroll("node-" + std::to_string(i), {{"labels", {{"odd", i % 2 == 1 ? "yes" : "no"}, {"site", "x"}}}})
            .id);
  }
  const auto found = [&](const std::string& query) {
    std::vector<std::string> names;
    const auto page = ok("GET", "/v1/nodes?" + query);
    for (const auto& node : page["nodes"]) names.push_back(node["name"].get<std::string>());
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(found("limit=10"), (Names{"node-4", "node-3", "node-2", "node-1", "node-0"}));
  EXPECT_EQ(found("label=odd=yes"), (Names{"node-3", "node-1"}));
  EXPECT_EQ(found("label=odd=yes&label=site=x"), (Names{"node-3", "node-1"}));
  EXPECT_EQ(found("label=odd=yes&label=site=y"), Names{});
  EXPECT_EQ(found("label=odd=yes&label=odd=no"), Names{});
  EXPECT_EQ(found("name=node-2"), Names{"node-2"});
  EXPECT_EQ(found("presence=online"), Names{});
  EXPECT_EQ(found("presence=offline").size(), 5U);
  EXPECT_EQ(found("presence=elsewhere"), Names{});
  problem("GET", "/v1/nodes?label=odd", nullptr, 400, "invalid");
  const auto page = ok("GET", "/v1/nodes?limit=2");
  EXPECT_EQ(found("limit=2&cursor=" + page["nextCursor"].get<std::string>()), (Names{"node-2", "node-1"}));
  EXPECT_TRUE(ok("GET", "/v1/nodes?limit=5")["nextCursor"].is_null());
}

TEST_F(OperatorsApi, LabelsAreMergedWithinTheLimits) {
  const auto device = enroll("alpha", {{"labels", {{"a", "1"}}}});
  const std::string path = "/v1/nodes/" + device.id;
  EXPECT_EQ(ok("PATCH", path, {{"labels", {{"a", nullptr}, {"b", "2"}}}})["labels"], (json{{"b", "2"}}));
  json many = json::object();
  for (std::size_t i = 0; i < limits::kLabels; ++i) many["k" + std::to_string(i)] = "v";
  problem("PATCH", path, {{"labels", many}}, 400, "limit");
  many["b"] = nullptr;
  EXPECT_EQ(ok("PATCH", path, {{"labels", many}})["labels"].size(), limits::kLabels);
  problem("PATCH", path, {{"labels", {{std::string(limits::kLabelKeyBytes + 1, 'k'), "v"}}}}, 400, "invalid");
  problem("PATCH", path, {{"labels", {{"k0", std::string(limits::kLabelValueBytes + 1, 'v')}}}}, 400,
          "invalid");
  problem("PATCH", path, {{"labels", {{"k0", 5}}}}, 400, "invalid");
  problem("PATCH", path, {{"name", ""}}, 400, "invalid");
  problem("PATCH", path, {{"name", make_uuid(1)}}, 400, "invalid");
  problem("PATCH", path, json::object(), 400, "invalid");
}

TEST_F(OperatorsApi, AStoppedWriterIsHonest) {
  const auto device = enroll("alpha");
  writer->stop();
  const auto refused = call("POST", "/v1/nodes/alpha/tasks", R"({"type":"echo"})", as(admin));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers[0].first, "Retry-After");
  EXPECT_EQ(task_count(), 0U);
}

}  // namespace
}  // namespace agenttask::server::test
