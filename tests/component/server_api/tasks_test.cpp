#include <map>
#include <sstream>
#include <tuple>

#include "platform/base/ids.hpp"
#include "server/store/housekeeping.hpp"
#include "tests/component/server_api/api_fixture.hpp"

namespace agenttask::server::test {
namespace {

class TasksApi : public ApiTest {
 protected:
  TasksApi() { device = enroll("alpha"); }
  std::string path(const json& task, const std::string& more = {}) const {
    return "/v1/tasks/" + task["id"].get<std::string>() + more;
  }
  std::string tasks_path() const { return "/v1/nodes/" + device.id + "/tasks"; }
  std::set<std::string> ids(const std::string& query) {
    std::set<std::string> found;
    const auto page = ok("GET", "/v1/tasks?" + query);
    for (const auto& task : page["tasks"]) found.insert(task["id"].get<std::string>());
    return found;
  }
  /// The device takes all directives there are and acknowledges them.
  void deliver() {
    const auto answer = polled(device, poll_of(device, cursor));
    cursor = after(answer);
    polled(device, poll_of(device, cursor));
  }
  EnrolledDevice device;
  Cursor cursor;
};

TEST_F(TasksApi, CreateGivesDefaultsAndReadsBack) {
  const auto task = ok("POST", tasks_path(), {{"type", "echo"}}, 201);
  EXPECT_TRUE(is_uuid(task["id"].get<std::string>()));
  EXPECT_EQ(task["metadata"], json::object());
  EXPECT_EQ(task["status"], "pending");
  EXPECT_EQ(task["addTime"], clock.wall());
  EXPECT_EQ(task["options"]["expiresAt"], clock.wall() + limits::kDefaultExpiry);
  EXPECT_EQ(task["reason"], "device-offline");
  EXPECT_EQ(ok("GET", path(task)), task);
}

TEST_F(TasksApi, ATaskForMuchLaterExpiresAfterItIsDue) {
  const auto due = clock.wall() + 90 * limits::kDay;
  const auto task = add_task(device.id, {{"type", "echo"}, {"schedule", {{"scheduledFor", due}}}});
  EXPECT_EQ(task["options"]["expiresAt"], due + limits::kDefaultExpiry);
}

TEST_F(TasksApi, TheSameIdIsTheSameTaskAndAnotherRequestAConflict) {
  const json body = {{"id", make_uuid(clock.wall())}, {"type", "echo"}, {"data", {{"a", 1}}}};
  const auto first = ok("POST", tasks_path(), body, 201);
  clock.advance(std::chrono::seconds(5));
  EXPECT_EQ(ok("POST", tasks_path(), body)["addTime"], first["addTime"]);
  json other = body;
  other["data"]["a"] = 2;
  problem("POST", tasks_path(), other, 409, "conflict");
  const auto elsewhere = enroll("beta");
  problem("POST", "/v1/nodes/" + elsewhere.id + "/tasks", body, 409, "conflict");
  EXPECT_EQ(task_count(), 1U);
}

TEST_F(TasksApi, AfterItWasPurgedItIsStillTheSameTask) {
  const json body = {{"id", make_uuid(clock.wall())}, {"type", "echo"}, {"data", {{"a", 1}}}};
  const auto task = ok("POST", tasks_path(), body, 201);
  ok("POST", path(task, "/cancel"));
  clock.advance(std::chrono::milliseconds(31 * limits::kDay));
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    EXPECT_FALSE(purge(writes, {clock.wall(), 0}, {}, 10));
    EXPECT_FALSE(purge(writes, {clock.wall(), 31 * limits::kDay}, {}, 10));
    return {};
  }));
  problem("GET", path(task), nullptr, 404, "unknown-task");
  const auto again = ok("POST", tasks_path(), body);
  EXPECT_EQ(again["status"], "cancelled");
  EXPECT_EQ(again["addTime"], task["addTime"]);
  json other = body;
  other["data"]["a"] = 2;
  problem("POST", tasks_path(), other, 409, "conflict");
  EXPECT_TRUE(polled(device, poll_of(device)).lines.empty());
}

TEST_F(TasksApi, AnIdempotencyKeyIsTheSameTask) {
  Options options{.token = admin, .headers = {{"idempotency-key", "k-1"}}};
  const std::string body = R"({"type":"echo","data":{"a":1}})";
  const auto first = json::parse(call("POST", tasks_path(), body, options).body);
  const auto again = call("POST", tasks_path(), body, options);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(json::parse(again.body)["id"], first["id"]);
  const auto other = call("POST", tasks_path(), R"({"type":"echo","data":{"a":2}})", options);
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(json::parse(other.body)["code"], "idempotency-conflict");
  // Keys are of one operator each.
  options.token = make_operator(Role::operator_);
  EXPECT_EQ(call("POST", tasks_path(), body, options).status, 201);
  options.headers["idempotency-key"] = std::string(limits::kIdempotencyKeyBytes, 'x');
  EXPECT_EQ(call("POST", tasks_path(), body, options).status, 201);
  for (const auto& bad :
       {std::string(limits::kIdempotencyKeyBytes + 1, 'x'), std::string(), std::string("a b")}) {
    options.headers["idempotency-key"] = bad;
    EXPECT_EQ(call("POST", tasks_path(), body, options).status, 400) << bad;
  }
  EXPECT_EQ(task_count(), 3U);
}

TEST_F(TasksApi, FiltersCombineAndUnknownValuesFitNothing) {
  const auto other = enroll("beta");
  const auto make = [&](const std::string& node, json tags, const std::string& room) {
    return add_task(node,
                    {{"type", "echo"}, {"tags", std::move(tags)}, {"roomId", room}, {"worldId", "w"}})["id"]
        .get<std::string>();
  };
  const auto a = make(device.id, {"red", "big"}, "r1");
  const auto b = make(device.id, {"red"}, "r2");
  const auto c = make(other.id, {"Red", "big"}, "r1");
  using Set = std::set<std::string>;
  EXPECT_EQ(ids("tag=red"), (Set{a, b}));
  EXPECT_EQ(ids("tag=red&tag=big"), (Set{a}));
  EXPECT_EQ(ids("tag=re"), Set{});
  EXPECT_EQ(ids("roomId=r1"), (Set{a, c}));
  EXPECT_EQ(ids("roomId=r1&node=beta"), (Set{c}));
  EXPECT_EQ(ids("worldId=w&type=echo&status=pending"), (Set{a, b, c}));
  for (const auto* nothing :
       {"status=bogus", "status=complete", "type=none", "worldId=x", "node=nobody", "tag=red&tag=none"}) {
    EXPECT_EQ(ids(nothing), Set{}) << nothing;
  }
  EXPECT_EQ(problem("GET", "/v1/tasks?colour=red", nullptr, 400, "invalid")["field"], "colour");
  problem("GET", "/v1/tasks?tag=", nullptr, 400, "invalid");
  problem("GET", "/v1/tasks?type=a&type=b", nullptr, 400, "invalid");
  for (const auto* bad : {"limit=0", "limit=1001", "limit=x", "limit=99999999999999999999", "cursor=x",
                          "cursor=-1", "full=maybe"}) {
    problem("GET", std::string("/v1/tasks?") + bad, nullptr, 400, "invalid");
  }
}

TEST_F(TasksApi, PagesAreStableWhileTasksAreAdded) {
  std::vector<std::string> made;
  made.reserve(7);
  for (int i = 0; i < 7; ++i) made.push_back(add_task(device.id)["id"].get<std::string>());
  std::vector<std::string> seen;
  std::string next;
  do {
    const auto page = ok("GET", tasks_path() + "?limit=3" + (next.empty() ? "" : "&cursor=" + next));
    for (const auto& task : page["tasks"]) {
      seen.push_back(task["id"].get<std::string>());
      EXPECT_FALSE(task.contains("data"));
    }
    next = page["nextCursor"].is_null() ? "" : page["nextCursor"].get<std::string>();
    add_task(device.id);
  } while (!next.empty());
  EXPECT_EQ(seen, std::vector<std::string>(made.rbegin(), made.rend()));
  EXPECT_TRUE(ok("GET", "/v1/tasks?full=1&limit=1")["tasks"][0].contains("data"));
}

TEST_F(TasksApi, AnUpdateMergesBeforeTheOfferAndAsksAfterIt) {
  const auto task = add_task(
      device.id, {{"type", "echo"}, {"metadata", {{"keep", 1}, {"gone", 2}}}, {"description", "old"}});
  const json changes = {{"metadata", {{"gone", nullptr}, {"new", 3}}}, {"tags", {"t"}}};
  const auto changed = ok("PATCH", path(task), changes);
  EXPECT_EQ(changed["metadata"], (json{{"keep", 1}, {"new", 3}}));
  EXPECT_EQ(changed["description"], "old");
  EXPECT_FALSE(changed.contains("requested"));
  EXPECT_GT(changed["updatedAt"], task["updatedAt"]);
  EXPECT_EQ(ids("tag=t").size(), 1U);
  deliver();
  const auto asked = ok("PATCH", path(task), {{"description", "new"}}, 202);
  EXPECT_EQ(asked["description"], "old");
  // Until the device has taken them, what was asked of it can be seen.
  EXPECT_EQ(asked["requested"], (json{"update"}));
  ok("PATCH", path(task), {{"tags", {"u"}}}, 202);
  const auto deleted = ok("DELETE", path(task), nullptr, 202);
  EXPECT_EQ(deleted["requested"], (json{"update", "delete"}));
  EXPECT_EQ(ok("GET", path(task))["requested"], (json{"update", "delete"}));
  EXPECT_EQ(ok("GET", "/v1/tasks")["tasks"][0]["requested"], (json{"update", "delete"}));
  const auto answer = polled(device, poll_of(device, cursor));
  ASSERT_EQ(answer.lines.size(), 3U);
  EXPECT_EQ(json::parse(answer.lines[0])["changes"], (json{{"description", "new"}}));
  EXPECT_TRUE(ok("GET", path(task)).contains("requested"));
  cursor = after(answer);
  polled(device, poll_of(device, cursor));
  EXPECT_FALSE(ok("GET", path(task)).contains("requested"));
  problem("PATCH", "/v1/tasks/" + make_uuid(1), changes, 404, "unknown-task");
  problem("PATCH", path(task), json::object(), 400, "invalid");
}

TEST_F(TasksApi, CancelTellsTheTruthInEveryState) {
  const auto pending = add_task(device.id);
  EXPECT_EQ(ok("POST", path(pending, "/cancel"))["status"], "cancelled");
  problem("POST", path(pending, "/cancel"), nullptr, 409, "already-ended");
  const auto offered = add_task(device.id);
  deliver();
  EXPECT_EQ(ok("GET", path(offered))["status"], "sent");
  const auto asked = ok("POST", path(offered, "/cancel"), nullptr, 202);
  EXPECT_EQ(asked["status"], "sent");
  EXPECT_TRUE(asked.contains("cancelRequestedAt"));
  ok("POST", path(offered, "/cancel"), nullptr, 202);
  const auto answer = polled(device, poll_of(device, cursor));
  EXPECT_EQ(answer.lines.size(), 1U);  // asked once
  TaskState state;
  state.status = TaskStatus::complete;
  const auto id = offered["id"].get<std::string>();
  report(device, {StartedReport{id, 1, 5},
                  EndedReport{id, agenttask::Run{id, 1, RunStatus::complete, "", 5, 6, R"({"success":true})"},
                              state}});
  const auto late = problem("POST", path(offered, "/cancel"), nullptr, 409, "already-ended");
  EXPECT_EQ(late["task"]["status"], "complete");
  problem("POST", path(offered, "/cancel"), {{"why", 1}}, 400, "invalid");
}

TEST_F(TasksApi, ACancelThatWaitsHearsTheEnd) {
  const auto task = add_task(device.id);
  deliver();
  auto asked = request("POST", path(task, "/cancel"), "", {.token = admin, .query = {{"wait", "5000"}}});
  auto outcome = evaluate(asked);
  ASSERT_TRUE(std::holds_alternative<Wait>(outcome));
  const auto id = task["id"].get<std::string>();
  EXPECT_EQ(std::get<Wait>(outcome).keys.front(), "task:" + id);
  clock.advance(std::chrono::seconds(1));
  TaskState state;
  state.status = TaskStatus::cancelled;
  report(device, {EndedReport{id, std::nullopt, state}});
  outcome = evaluate(asked);
  ASSERT_TRUE(std::holds_alternative<Response>(outcome));
  EXPECT_EQ(std::get<Response>(outcome).status, 200);
  // Nobody answers: 202 when the time is over.
  const auto silent = add_task(device.id);
  deliver();
  asked = request("POST", path(silent, "/cancel"), "", {.token = admin, .query = {{"wait", "5000"}}});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(asked)));
  clock.advance(std::chrono::seconds(5));
  outcome = evaluate(asked);
  EXPECT_EQ(std::get<Response>(outcome).status, 202);
}

TEST_F(TasksApi, DeleteEndsAndKeepsReadable) {
  const auto task = add_task(device.id);
  const auto gone = ok("DELETE", path(task));
  EXPECT_EQ(gone["status"], "cancelled");
  EXPECT_TRUE(gone.contains("deletedAt"));
  EXPECT_EQ(ok("GET", path(task))["deletedAt"], gone["deletedAt"]);
  EXPECT_EQ(task_count(), 0U);
  EXPECT_EQ(ok("DELETE", path(task))["deletedAt"], gone["deletedAt"]);
  const auto sent = add_task(device.id);
  deliver();
  ok("DELETE", path(sent), nullptr, 202);
  ok("DELETE", path(sent), nullptr, 202);
  const auto answer = polled(device, poll_of(device, cursor));
  ASSERT_EQ(answer.lines.size(), 1U);
  EXPECT_EQ(json::parse(answer.lines[0])["kind"], "delete");
  problem("DELETE", "/v1/tasks/" + make_uuid(1), nullptr, 404, "unknown-task");
}

TEST_F(TasksApi, DeletedOnesAreListedWhenTheyAreAskedFor) {
  const auto kept = add_task(device.id)["id"];
  const auto task = add_task(device.id);
  ok("DELETE", path(task));
  const std::string of_node = "/v1/nodes/" + device.id + "/tasks?";
  for (const std::string& list : std::vector<std::string>{"/v1/tasks?", of_node, "/v1/tasks?node=alpha&"}) {
    const auto ids = [&](const std::string& query) {
      json found = json::array();
      const json page = ok("GET", list + query);
      for (const auto& one : page["tasks"]) found.push_back(one["id"]);
      return found;
    };
    EXPECT_EQ(ids("limit=100"), json({kept})) << list;
    EXPECT_EQ(ids("deleted=false"), json({kept})) << list;
    EXPECT_EQ(ids("deleted=true"), json({task["id"]})) << list;
    EXPECT_EQ(ids("deleted=1&type=echo"), json({task["id"]})) << list;
    EXPECT_EQ(ids("deleted=true&type=other"), json::array()) << list;
    EXPECT_EQ(ids("deleted=any"), json({task["id"], kept})) << list;
    EXPECT_EQ(problem("GET", list + "deleted=yes", nullptr, 400, "invalid")["field"], "deleted") << list;
  }
  problem("GET", "/v1/tasks?node=nobody&deleted=yes", nullptr, 400, "invalid");
}

TEST_F(TasksApi, WaitAnswersAtTheEndOrThen) {
  const auto task = add_task(device.id);
  auto asked = request("GET", path(task), "", {.token = admin, .query = {{"wait", "1000"}}});
  auto outcome = evaluate(asked);
  ASSERT_TRUE(std::holds_alternative<Wait>(outcome));
  EXPECT_EQ(std::get<Wait>(outcome).until, asked->received + std::chrono::seconds(1));
  asked->may_wait = false;
  EXPECT_EQ(json::parse(std::get<Response>(evaluate(asked)).body)["status"], "pending");
  ok("POST", path(task, "/cancel"));
  asked->may_wait = true;
  EXPECT_EQ(json::parse(std::get<Response>(evaluate(asked)).body)["status"], "cancelled");
  ok("GET", path(task) + "?wait=55000");
  problem("GET", path(task) + "?wait=55001", nullptr, 400, "invalid");
}

TEST_F(TasksApi, BadBodiesChangeNothing) {
  const auto bad = [&](const std::string& body, int status) {
    const auto response = call("POST", tasks_path(), body, as(admin));
    EXPECT_EQ(response.status, status) << body.substr(0, 100) << " → " << response.body.substr(0, 300);
  };
  for (const auto* body :
       {"", "{", "[]", "null", "\"x\"", "{\"type\":\"echo\"} x", "{\"type\":\"echo\",\"type\":\"echo\"}",
        "{\"type\":5}", "{}", "{\"type\":\"echo\",\"data\":[]}", "{\"type\":\"echo\",\"colour\":1}",
        "{\"type\":\"echo\",\"options\":{\"timeout\":-1}}",
        "{\"type\":\"echo\",\"options\":{\"timeout\":NaN}}",
        "{\"type\":\"echo\",\"options\":{\"timeout\":1e18}}", "{\"type\":\"echo\",\"id\":\"x\"}",
        "{\"type\":\"command\",\"data\":{}}", "{\"type\":\"echo\",\"nodeId\":\"another\"}",
        "{\"type\":\"\xff\"}"}) {
    bad(body, 400);
  }
  bad(R"({"type":"echo","schedule":{"updateInterval":999}})", 400);
  bad(R"({"type":"echo","schedule":{"updateInterval":60000,"overlap":"never"}})", 400);
  bad(R"({"type":"echo","choices":[{"name":"a"},{"name":"a"}]})", 400);
  bad(R"({"type":"echo","defaultChoice":"a"})", 400);
  std::string deep = R"({"type":"echo","data":{"a":)" + std::string(limits::kJsonDepth, '[') +
                     std::string(limits::kJsonDepth, ']') + "}}";
  bad(deep, 400);
  bad(R"({"type":"echo","data":{"a":")" + std::string(limits::kDataBytes, 'x') + "\"}}", 400);
  EXPECT_EQ(task_count(), 0U);
  const auto largest = std::string(limits::kDataBytes - 8, 'x');
  EXPECT_EQ(add_task(device.id, {{"type", "echo"}, {"data", {{"a", largest}}}})["data"]["a"], largest);
  problem("POST", "/v1/nodes/nobody/tasks", {{"type", "echo"}}, 404, "unknown-node");
}

TEST_F(TasksApi, AnAmbiguousNameGivesTheCandidates) {
  const auto twin = enroll("alpha");
  EXPECT_EQ(ok("GET", "/v1/nodes/" + twin.id)["name"], "alpha-2");
  ok("PATCH", "/v1/nodes/" + twin.id, {{"name", "alpha"}});
  const auto refused = problem("POST", "/v1/nodes/alpha/tasks", {{"type", "echo"}}, 409, "ambiguous-node");
  EXPECT_EQ(refused["candidates"].size(), 2U);
  problem("GET", "/v1/tasks?node=alpha", nullptr, 409, "ambiguous-node");
  ok("PATCH", "/v1/nodes/" + twin.id, {{"name", "gamma"}});
  EXPECT_EQ(add_task("alpha")["nodeId"], device.id);
  EXPECT_EQ(add_task("gamma")["nodeId"], twin.id);
}

TEST_F(TasksApi, RunsAndOutput) {
  const auto task = add_task(device.id, {{"type", "command"}, {"data", {{"cmd", "x"}}}});
  const auto id = task["id"].get<std::string>();
  deliver();
  const std::string binary = "\xff\xfe";
  TaskState state;
  state.status = TaskStatus::complete;
  report(device, {StartedReport{id, 1, 5}, OutputReport{id, 1, {OutputStream::standard_output, 0, "hello "}},
                  OutputReport{id, 1, {OutputStream::standard_output, 6, "world"}},
                  OutputReport{id, 1, {OutputStream::standard_error, 0, binary}},
                  EndedReport{id,
                              agenttask::Run{id, 1, RunStatus::complete, "", 5, 6,
                                             R"({"success":true,"data":{"exitCode":0}})"},
                              state}});
  const auto ended = ok("GET", path(task));
  EXPECT_EQ(ended["result"]["data"]["stdout"], "hello world");
  EXPECT_EQ(ended["result"]["data"]["stderrEncoding"], "base64");
  EXPECT_EQ(ended["result"]["data"]["exitCode"], 0);
  const auto runs = ok("GET", path(task, "/runs"))["runs"];
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_FALSE(runs[0]["result"]["data"].contains("stdout"));
  EXPECT_EQ(ok("GET", path(task, "/runs?full=1"))["runs"][0]["result"]["data"]["stdout"], "hello world");
  const auto response = call("GET", path(task, "/output"), "", as(admin));
  EXPECT_EQ(
      response.body,
      "{\"offset\":0,\"run\":1,\"stream\":\"stdout\",\"text\":\"hello "
      "\"}\n{\"offset\":6,\"run\":1,\"stream\":\"stdout\",\"text\":\"world\"}\n"
      "{\"base64\":\"//"
      "4=\",\"offset\":0,\"run\":1,\"stream\":\"stderr\"}\n{\"end\":{\"run\":1,\"status\":\"complete\"}}\n");
  const auto rest = call("GET", path(task, "/output"), "", {.token = admin, .query = {{"from", "8,2"}}});
  EXPECT_EQ(rest.body,
            "{\"offset\":8,\"run\":1,\"stream\":\"stdout\",\"text\":\"rld\"}\n{\"end\":{\"run\":1,\"status\":"
            "\"complete\"}}\n");
  for (const auto* bad : {"1", "1,", ",1", "-1,0", "1,2,3", "x,y"})
    problem("GET", path(task, std::string("/output?from=") + bad), nullptr, 400, "invalid");
}

TEST_F(TasksApi, FollowingGivesEachByteOnceWhicheverWayItCame) {
  const auto task = add_task(device.id, {{"type", "command"}, {"data", {{"cmd", "x"}}}});
  const auto id = task["id"].get<std::string>();
  deliver();
  report(device, {StartedReport{id, 1, 5}});
  auto outcome =
      evaluate(request("GET", path(task, "/output"), "", {.token = admin, .query = {{"follow", "1"}}}));
  ASSERT_TRUE(std::holds_alternative<Stream>(outcome));
  auto& stream = std::get<Stream>(outcome);
  EXPECT_EQ(stream.head.body, "");
  EXPECT_EQ(polled(device, poll_of(device, cursor)).watch, std::vector<std::string>{id});
  const auto send = [&](std::int64_t offset, const std::string& text) {
    const json body = {
        {"taskId", id}, {"run", 1}, {"chunks", {{{"stream", "stdout"}, {"offset", offset}, {"text", text}}}}};
    const auto response = call("POST", "/v1/device/output", body.dump(), {.certificate = device.certificate});
    EXPECT_EQ(json::parse(response.body)["watched"], true) << response.body;
  };
  send(0, "ab");
  EXPECT_EQ(stream.next(false).bytes, "{\"offset\":0,\"run\":1,\"stream\":\"stdout\",\"text\":\"ab\"}\n");
  send(4, "ef");  // cd was lost on the way
  EXPECT_EQ(stream.next(false).bytes, "{\"offset\":4,\"run\":1,\"stream\":\"stdout\",\"text\":\"ef\"}\n");
  TaskState state;
  state.status = TaskStatus::failed;
  state.reason = "exit-status";
  report(
      device,
      {OutputReport{id, 1, {OutputStream::standard_output, 0, "abcdefgh"}},
       EndedReport{id, agenttask::Run{id, 1, RunStatus::failed, "exit-status", 5, 6, R"({"success":false})"},
                   state}});
  const auto last = stream.next(false);
  EXPECT_EQ(last.bytes,
            "{\"offset\":2,\"run\":1,\"stream\":\"stdout\",\"text\":\"cd\"}\n{\"offset\":6,\"run\":1,"
            "\"stream\":\"stdout\",\"text\":\"gh\"}\n"
            "{\"end\":{\"reason\":\"exit-status\",\"run\":1,\"status\":\"failed\"}}\n");
  EXPECT_TRUE(last.complete);
  EXPECT_TRUE(live.watched(device.id).empty());
}

TEST_F(TasksApi, FollowingEndsWhenTheOperatorIsRevoked) {
  const auto task = add_task(device.id);
  const auto made = ok("POST", "/v1/operators", {{"role", "viewer"}}, 201);
  auto outcome = evaluate(request("GET", path(task, "/output"), "",
                                  {.token = made["token"].get<std::string>(), .query = {{"follow", "1"}}}));
  auto& stream = std::get<Stream>(outcome);
  ok("DELETE", "/v1/operators/" + made["id"].get<std::string>());
  EXPECT_NE(std::find(touched.begin(), touched.end(), "operator:" + made["id"].get<std::string>()),
            touched.end());
  const auto piece = stream.next(false);
  EXPECT_TRUE(piece.complete);
  EXPECT_EQ(piece.bytes, "{\"end\":{\"cut\":\"unauthorized\"}}\n");
}

TEST_F(TasksApi, LargeOutputComesInPieces) {
  const auto task = add_task(
      device.id, {{"type", "command"}, {"data", {{"cmd", "x"}}}, {"options", {{"maxOutputBytes", 4 << 20}}}});
  const auto id = task["id"].get<std::string>();
  deliver();
  report(device, {StartedReport{id, 1, 5}});
  for (int i = 0; i < 12; ++i) {
    report(device,
           {OutputReport{id, 1, {OutputStream::standard_output, i * 262144, std::string(262144, 'x')}}});
  }
  auto outcome = evaluate(request("GET", path(task, "/output"), "", as(admin)));
  auto& stream = std::get<Stream>(outcome);
  std::size_t bytes = stream.head.body.size();
  for (;;) {
    const auto piece = stream.next(true);
    bytes += piece.bytes.size();
    if (piece.complete) break;
    ASSERT_TRUE(piece.more);
  }
  EXPECT_GT(bytes, 12U * 262144);
}

/// A follower of a task that has run again and again meanwhile.
class FollowingManyRuns : public TasksApi {
 protected:
  static constexpr std::int64_t kRuns = 3;
  static constexpr int kChunks = 8;
  static constexpr std::size_t kPiece = 1024 * 1024;

  void start() {
    task_ = add_task(device.id, {{"type", "command"},
                                 {"data", {{"cmd", "x"}}},
                                 {"schedule", {{"updateInterval", 60'000}}},
                                 {"options", {{"maxOutputBytes", 4 << 20}}}});
    id_ = task_["id"].get<std::string>();
    deliver();
    put(1);
    outcome_ =
        evaluate(request("GET", path(task_, "/output"), "",
                         {.token = viewer_.at("token").get<std::string>(), .query = {{"follow", "1"}}}));
    EXPECT_LE(stream().head.body.size(), kPiece);
    for (std::int64_t run = 2; run <= kRuns; ++run) put(run);
  }
  Stream& stream() { return std::get<Stream>(outcome_); }
  /// The end of the run before it, and of this one all but the end.
  void put(std::int64_t run) {
    TaskState state;
    state.status = TaskStatus::sent;
    state.run_count = run - 1;
    if (run > 1) {
      report(device,
             {EndedReport{id_,
                          agenttask::Run{id_, run - 1, RunStatus::complete, "", 5, 6, R"({"success":true})"},
                          state}});
    }
    report(device, {StartedReport{id_, run, 5}});
    for (int i = 0; i < kChunks; ++i) {
      const auto which = i % 2 == 0 ? OutputStream::standard_error : OutputStream::standard_output;
      report(device, {OutputReport{id_, run, {which, (i / 2) * 262144, std::string(262144, 'x')}}});
    }
  }
  json viewer_ = ok("POST", "/v1/operators", {{"role", "viewer"}}, 201);
  json task_;
  std::string id_;
  Outcome outcome_;
};

TEST_F(FollowingManyRuns, GivesAllOnceAndInOrder) {
  start();
  std::string lines = stream().head.body;
  for (;;) {
    const auto piece = stream().next(false);
    EXPECT_LE(piece.bytes.size(), kPiece);
    lines += piece.bytes;
    if (!piece.more) break;
  }
  std::map<std::tuple<int, std::string, std::int64_t>, std::size_t> got;
  std::istringstream text(lines);
  for (std::string line; std::getline(text, line);) {
    const auto chunk = json::parse(line);
    const auto key = std::tuple(chunk.at("run").get<int>(), chunk.at("stream").get<std::string>(),
                                chunk.at("offset").get<std::int64_t>());
    EXPECT_LE(got.empty() ? 0 : std::get<0>(got.rbegin()->first), std::get<0>(key));
    EXPECT_TRUE(got.emplace(key, chunk.at("text").get<std::string>().size()).second) << line.substr(0, 60);
  }
  EXPECT_EQ(got.size(), static_cast<std::size_t>(kRuns * kChunks));
  for (const auto& [key, bytes] : got) EXPECT_EQ(bytes, 262144U);
}

TEST_F(FollowingManyRuns, WhatIsNotTakenYetIsNotReadEither) {
  start();
  std::size_t bytes = stream().head.body.size() + stream().next(false).bytes.size();
  ok("DELETE", "/v1/operators/" + viewer_["id"].get<std::string>());
  for (;;) {
    const auto piece = stream().next(false);
    bytes += piece.bytes.size();
    if (piece.complete) break;
    ASSERT_TRUE(piece.more);
  }
  EXPECT_LT(bytes, 4 * kPiece) << "of " << kRuns * kChunks * 262144;
}

}  // namespace
}  // namespace agenttask::server::test
