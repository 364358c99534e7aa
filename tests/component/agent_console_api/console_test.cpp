#include <chrono>
#include <fstream>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/console_api/console_client.hpp"
#include "agent/console_api/console_server.hpp"
#include "agent/console_api/limits.hpp"
#include "platform/base/encoding.hpp"
#include "platform/os/local_socket.hpp"
#include "platform/protocol/json.hpp"
#include "tests/component/agent_console_api/device_fixture.hpp"

/// The console's server with a real ledger and runner behind it, over real sockets.
namespace agenttask::agent {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using Next = ConsoleClient::Next;

std::string text_of(const json& value) {
  return value.get<std::string>();
}

class ConsoleTest : public DeviceFixture {
 protected:
  void SetUp() override {
    DeviceFixture::SetUp();
    serve({});
  }
  void TearDown() override {
    if (runner_) runner_->stop();
    server_.reset();
    DeviceFixture::TearDown();
  }
  void serve(ConsoleControls controls) {
    server_.reset();
    auto server =
        ConsoleServer::start({address_, "", ""}, std::move(controls), *ledger_, *runner_, clock_, log_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  ConsoleClient client() { return ConsoleClient::connect(address_).value(); }
  Answer call(std::string_view name, const json& arguments = json::object()) {
    return client().call(name, encode_json(arguments));
  }
  static json command(const std::string& line) {
    return {{"task", {{"type", "command"}, {"data", {{"cmd", line}}}}}};
  }
  static json followed(const std::string& line) {
    json arguments = command(line);
    arguments["follow"] = true;
    return arguments;
  }
  /// Waits until somebody made the file: an event, not a time.
  [[nodiscard]] std::string until(const std::string& name) const {
    return "while [ ! -e " + (folder_.path() / name).string() + " ]; do sleep 0.02; done; ";
  }
  void touch(const std::string& name) const { std::ofstream(folder_.path() / name).put('x'); }
  static json parse(const Answer& answer) {
    EXPECT_TRUE(answer.ok()) << answer.problem->detail;
    return answer.ok() ? json::parse(answer.json) : json::object();
  }

  const std::string address_ = (folder_.path() / "agent.sock").string();
  std::unique_ptr<ConsoleServer> server_;
};

TEST_F(ConsoleTest, AnEchoComesBackAsItWent) {
  const json data = json::parse(R"({"message":"test data","n":9007199254740993,"emoji":"🎉"})");
  const Answer answer = client().follow(
      "createTask", encode_json(json{{"task", {{"type", "echo"}, {"data", data}}}, {"follow", true}}), 1s,
      [](std::string_view) { return Next::go_on; });
  const json task = parse(answer);
  EXPECT_EQ(task["status"], "complete");
  EXPECT_EQ(task["result"]["data"], data);
}

TEST_F(ConsoleTest, OutputComesByteForByteOnItsOwnStream) {
  std::map<std::string, std::string> bytes;
  std::vector<std::string> kinds;
  const Answer answer = client().follow(
      "createTask", encode_json(followed(R"(printf 'a\377b\0c'; printf err >&2; exit 7)")), 1s,
      [&](std::string_view text) {
        if (text.empty()) return Next::go_on;
        const json event = json::parse(text);
        kinds.push_back(text_of(event["event"]));
        if (event["event"] == "output") {
          bytes[text_of(event["stream"])] +=
              event.contains("text") ? text_of(event["text"]) : *base64_decode(text_of(event["base64"]));
        }
        return Next::go_on;
      });
  const json task = parse(answer);
  EXPECT_EQ(kinds.front(), "created");
  EXPECT_EQ(bytes["stdout"], std::string("a\377b\0c", 5));
  EXPECT_EQ(bytes["stderr"], "err");
  EXPECT_EQ(task["status"], "failed");
  EXPECT_EQ(task["reason"], "exit-status");
  EXPECT_EQ(task["result"]["data"]["exitCode"], 7);
  EXPECT_EQ(task["result"]["data"]["stderr"], "err");
  EXPECT_EQ(task["result"]["data"]["stdoutEncoding"], "base64");

  // The same is kept, and can be read again.
  std::string kept;
  const Answer again =
      client().follow("getOutput", encode_json(json{{"id", task["id"]}}), 1s, [&](std::string_view text) {
        if (!text.empty() && json::parse(text)["stream"] == "stderr")
          kept += text_of(json::parse(text)["text"]);
        return Next::go_on;
      });
  EXPECT_EQ(parse(again)["run"], 1);
  EXPECT_EQ(kept, "err");
}

TEST_F(ConsoleTest, ManyMegabytesReachAPromptReaderWhole) {
  std::size_t bytes = 0;
  const Answer answer =
      client().follow("createTask", encode_json(followed("head -c 3000000 /dev/zero | tr '\\0' x")), 5s,
                      [&](std::string_view text) {
                        const json event = text.empty() ? json::object() : json::parse(text);
                        if (event.value("event", "") == "output") {
                          bytes += event["text"].get_ref<const std::string&>().size();
                        }
                        return Next::go_on;
                      });
  const json task = parse(answer);
  EXPECT_EQ(task["result"]["data"]["stdoutBytes"], 3000000);
  EXPECT_EQ(bytes, 3000000U) << "far more than is kept";
}

TEST_F(ConsoleTest, AReaderThatStopsHoldsUpNothingForLong) {
  auto stuck = os::LocalStream::connect(address_, 5s).value();
  const json request{{"call", "createTask"}, {"arguments", followed("head -c 3000000 /dev/zero")}};
  ASSERT_TRUE(stuck.write_all(encode_json(request) + "\n", 5s));
  ASSERT_TRUE(stuck.read_line(1 << 20, 10s));  // created; and not a byte more
  const Answer answer = client().follow("watch", encode_json(json{{"id", "@last"}, {"output", false}}), 1s,
                                        [](std::string_view) { return Next::go_on; });
  const json task = parse(answer);
  EXPECT_EQ(task["status"], "complete");
  EXPECT_EQ(task["result"]["data"]["stdoutBytes"], 3000000);
  EXPECT_EQ(task["result"]["data"]["truncated"], true);
}

TEST_F(ConsoleTest, HostileLinesGetAProblemAndTheNextIsServed) {
  auto stream = os::LocalStream::connect(address_, 5s).value();
  const std::string deep =
      R"({"call":"getTasks","arguments":)" + std::string(100, '[') + std::string(100, ']') + "}";
  const std::vector<std::string> lines{
      "",
      "hello",
      "{",
      "[]",
      "null",
      "{}",
      "\xff\xfe",
      std::string("\0\0", 2),
      R"({"call":"getTasks","call":"hold"})",
      R"({"call":5})",
      R"({"call":"format"})",
      R"({"call":"getTasks","arguments":[]})",
      R"({"call":"getTasks","arguments":{"limit":0}})",
      R"({"call":"getTasks","arguments":{"limit":1001}})",
      R"({"call":"getTasks","arguments":{"limt":5}})",
      R"({"call":"getTasks","arguments":{"cursor":"x"}})",
      R"({"call":"getTasks","arguments":{"status":"asleep"}})",
      R"({"call":"getTask","arguments":{}})",
      R"({"call":"getTask","arguments":{"id":""}})",
      R"({"call":"getTask","arguments":{"id":"abc"}})",
      R"({"call":"getTask","arguments":{"id":"018f7e3a-0000-7000-8000-000000000001"}})",
      R"({"call":"watch","arguments":{"id":"018f7e3a-0000-7000-8000-000000000001"}})",
      R"({"call":"createTask","arguments":{"task":{"type":"echo","id":"018f7e3a-0000-7000-8000-000000000001"}}})",
      R"({"call":"createTask","arguments":{"task":{"type":"echo","options":{"timeout":1e18}}}})",
      R"({"call":"createTask","arguments":{"task":{"type":"command","data":{}}}})",
      R"({"call":"enroll","arguments":{"url":"x"}})",
      R"({"call":"hold","arguments":{"really":true}})",
      R"({"call":"getTasks"} trailing)",
      deep};
  for (const std::string& line : lines) {
    ASSERT_TRUE(stream.write_all(line + "\n", 5s));
    const auto answer = stream.read_line(1 << 20, 10s);
    ASSERT_TRUE(answer && *answer) << line;
    const json problem = json::parse(**answer);
    EXPECT_TRUE(problem.contains("problem")) << line << " -> " << **answer;
    EXPECT_GE(problem["problem"].value("status", 0), 400) << line;
    EXPECT_FALSE(problem["problem"].value("detail", "").empty()) << line;
  }
  ASSERT_TRUE(stream.write_all(R"({"call":"getTasks"})"
                               "\n",
                               5s));
  const auto answer = stream.read_line(1 << 20, 10s);
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ(json::parse(**answer)["result"]["tasks"], json::array()) << "none of it left a task";
}

TEST_F(ConsoleTest, ARequestIsTakenUpToItsLimitAndNotOneByteMore) {
  const std::string head = R"({"call":"getTasks","arguments":{}})";
  auto stream = os::LocalStream::connect(address_, 5s).value();
  ASSERT_TRUE(stream.write_all(head + std::string(kConsoleRequestBytes - head.size(), ' ') + "\n", 20s));
  auto answer = stream.read_line(1 << 20, 20s);
  ASSERT_TRUE(answer && *answer);
  EXPECT_TRUE(json::parse(**answer).contains("result")) << **answer;

  auto other = os::LocalStream::connect(address_, 5s).value();
  // The server may hang up before it has read everything.
  (void)other.write_all(head + std::string(kConsoleRequestBytes - head.size() + 1, ' ') + "\n", 20s);
  answer = other.read_line(1 << 20, 20s);
  if (answer && *answer) {
    EXPECT_TRUE(json::parse(**answer).contains("problem")) << **answer;
    answer = other.read_line(1 << 20, 20s);
    EXPECT_FALSE(answer && *answer) << "and then it is closed";
  }
  EXPECT_TRUE(call("getTasks").ok());
}

TEST_F(ConsoleTest, HalfARequestAndASilentHangUpHarmNobody) {
  {
    auto stream = os::LocalStream::connect(address_, 5s).value();
    ASSERT_TRUE(stream.write_all(R"({"call":"hold")", 5s));
  }
  { auto stream = os::LocalStream::connect(address_, 5s).value(); }
  EXPECT_EQ(parse(call("status"))["hold"], false);
}

TEST_F(ConsoleTest, ServesAsManyAsItSaysAndTellsTheNext) {
  std::vector<ConsoleClient> clients;
  for (std::size_t count = 0; count < kConsoleConnections; ++count) {
    clients.push_back(client());
    ASSERT_TRUE(clients.back().call("getTasks", "{}").ok()) << count;
  }
  const Answer refused = call("getTasks");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.problem->status, 503);
  clients.pop_back();
  // The place is free once the server has noticed; a refused connection makes it look.
  bool served = false;
  for (int attempt = 0; attempt < 500 && !served; ++attempt) served = call("getTasks").ok();
  EXPECT_TRUE(served);
  for (ConsoleClient& one : clients) EXPECT_TRUE(one.call("getTasks", "{}").ok());
}

TEST_F(ConsoleTest, ATaskGoesOnWhenItsConsoleIsGone) {
  std::string id;
  const Answer left =
      client().follow("createTask", encode_json(followed("echo begun; " + until("go") + "echo end")), 1s,
                      [&](std::string_view text) {
                        if (text.empty()) return Next::go_on;
                        const json event = json::parse(text);
                        if (event["event"] == "created") id = text_of(event["task"]["id"]);
                        return event["event"] == "output" ? Next::leave : Next::go_on;
                      });
  EXPECT_TRUE(left.ok());
  EXPECT_EQ(parse(call("getTask", {{"id", id}}))["status"], "running");

  // Two others see all of it from the beginning.
  const auto watch = [&] {
    std::string output;
    const Answer answer =
        client().follow("watch", encode_json(json{{"id", id}}), 1s, [&](std::string_view text) {
          const json event = text.empty() ? json::object() : json::parse(text);
          if (event.value("event", "") == "output") output += text_of(event["text"]);
          return Next::go_on;
        });
    EXPECT_EQ(parse(answer)["status"], "complete");
    return output;
  };
  auto first = std::async(std::launch::async, watch);
  auto second = std::async(std::launch::async, watch);
  touch("go");
  EXPECT_EQ(first.get(), "begun\nend\n");
  EXPECT_EQ(second.get(), "begun\nend\n");
  EXPECT_EQ(watch(), "begun\nend\n") << "and also after its end";
}

TEST_F(ConsoleTest, CancelOverAnotherConnectionEndsWhatIsFollowed) {
  const Answer answer = client().follow(
      "createTask", encode_json(followed("echo begun; sleep 60")), 1s, [&](std::string_view text) {
        const json event = text.empty() ? json::object() : json::parse(text);
        if (event.value("event", "") == "output") {
          EXPECT_TRUE(call("cancelTask", {{"id", "@last"}}).ok());
        }
        return Next::go_on;
      });
  const json task = parse(answer);
  EXPECT_EQ(task["status"], "cancelled");
  EXPECT_EQ(task["result"]["data"]["stdout"], "begun\n") << "what there was is kept";
  const Answer late = call("cancelTask", {{"id", "@last"}});
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.problem->code, "already-ended") << "a script can tell that it came too late";
}

TEST_F(ConsoleTest, AHoldIsSeenExplainedAndReleased) {
  EXPECT_EQ(parse(call("hold"))["hold"], true);
  std::string waited;
  const Answer answer =
      client().follow("createTask", encode_json(followed("true")), 1s, [&](std::string_view text) {
        const json event = text.empty() ? json::object() : json::parse(text);
        if (event.value("event", "") == "state" && event["task"].value("reason", "") == "held" &&
            waited.empty()) {
          waited = text_of(event["task"]["status"]);
          EXPECT_EQ(parse(call("explainTask", {{"id", "@last"}}))["reason"], "held");
          EXPECT_EQ(parse(call("release"))["hold"], false);
        }
        return Next::go_on;
      });
  EXPECT_EQ(parse(answer)["status"], "complete");
  EXPECT_EQ(waited, "sent");
}

TEST_F(ConsoleTest, StopEndsEveryConnectionSoon) {
  auto following = std::async(std::launch::async, [&] {
    return client().follow("createTask", encode_json(followed("while :; do echo x; done")), 1s,
                           [](std::string_view) { return Next::go_on; });
  });
  auto idle = client();
  while (runner_->status().running.empty()) std::this_thread::sleep_for(5ms);
  const auto begin = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  const Answer answer = following.get();
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.problem->status, 503);
  EXPECT_FALSE(idle.call("status", "{}").ok());
  EXPECT_FALSE(ConsoleClient::connect(address_));
  EXPECT_EQ(runner_->status().running.size(), 1U) << "the task goes on";
}

TEST_F(ConsoleTest, IdsMayBeShortened) {
  const std::string id = text_of(parse(call("createTask", command("true")))["id"]);
  EXPECT_EQ(parse(call("getTask", {{"id", id}}))["id"], id);
  EXPECT_EQ(parse(call("getTask", {{"id", id.substr(id.size() - 8)}}))["id"], id);
  EXPECT_EQ(parse(call("getTask", {{"id", "@last"}}))["id"], id);
  EXPECT_EQ(call("getTask", {{"id", id.substr(id.size() - 3)}}).problem->status, 400);
  EXPECT_EQ(call("getTask", {{"id", "fffffffffffffff"}}).problem->status, 404);
}

TEST_F(ConsoleTest, ListsGoPageByPageWithAllFilters) {
  const auto add = [&](const json& task) {
    return parse(call("createTask", {{"task", task}}))["id"].get<std::string>();
  };
  const std::string first = add({{"type", "nobody"}, {"tags", {"a", "b"}}, {"roomId", "r"}});
  const std::string second = add({{"type", "nobody"}, {"tags", {"a"}}, {"data", {{"x", 1}}}});
  add({{"type", "other"}, {"tags", {"A"}}});
  json page = parse(call("getTasks", {{"type", "nobody"}, {"limit", 1}}));
  ASSERT_EQ(page["tasks"].size(), 1U);
  EXPECT_EQ(page["tasks"][0]["id"], second);
  EXPECT_FALSE(page["tasks"][0].contains("data"));
  page = parse(call("getTasks", {{"type", "nobody"}, {"limit", 1}, {"cursor", page["nextCursor"]}}));
  EXPECT_EQ(page["tasks"][0]["id"], first);
  page = parse(call("getTasks", {{"type", "nobody"}, {"full", true}}));
  ASSERT_EQ(page["tasks"].size(), 2U);
  EXPECT_EQ(page["tasks"][0]["data"], json({{"x", 1}}));
  EXPECT_EQ(parse(call("getTasks", {{"tag", {"a", "b"}}}))["tasks"].size(), 1U);
  EXPECT_EQ(parse(call("getTasks", {{"roomId", "r"}, {"tag", {"a"}}}))["tasks"].size(), 1U);
  EXPECT_EQ(parse(call("getTasks", {{"roomId", "nowhere"}}))["tasks"].size(), 0U);
}

TEST_F(ConsoleTest, UpdatesAndDeletesAnswerWithTheTask) {
  const json task{{"type", "nobody"}, {"metadata", {{"keep", 1}, {"drop", 2}}}};
  const std::string id = text_of(parse(call("createTask", {{"task", task}}))["id"]);
  json answer =
      parse(call("updateTask", {{"id", id}, {"changes", {{"metadata", {{"drop", nullptr}, {"new", 3}}}}}}));
  EXPECT_EQ(answer["metadata"], json({{"keep", 1}, {"new", 3}}));
  EXPECT_EQ(call("updateTask", {{"id", id}, {"changes", {{"type", "x"}}}}).problem->field, "type");
  answer = parse(call("deleteTask", {{"id", id}}));
  EXPECT_EQ(answer["status"], "cancelled");
  EXPECT_TRUE(answer.contains("deletedAt"));
  EXPECT_EQ(call("updateTask", {{"id", id}, {"changes", {{"description", "x"}}}}).problem->status, 409);
}

TEST_F(ConsoleTest, WhatLiesBesideTheLedgerIsAskedOfItsOwner) {
  EXPECT_EQ(call("enroll", {{"url", "https://s"}, {"token", "t"}}).problem->status, 422);
  std::string asked;
  ConsoleControls controls;
  controls.server_status = [] { return std::string(R"({"state":"connected"})"); };
  controls.diagnostics = [] { return std::string(R"({"policy":"none"})"); };
  controls.enroll = [&](const std::string& url, const std::string& token,
                        const std::string& name) -> Result<void> {
    asked = url + " " + token + " " + name;
    if (token == "bad") return Error{ErrorCode::invalid, "that is no token", "token"};
    return {};
  };
  controls.unenroll = []() -> Result<void> { return {}; };
  serve(std::move(controls));
  EXPECT_TRUE(call("enroll", {{"url", "https://s"}, {"token", "t"}, {"name", "n"}}).ok());
  EXPECT_EQ(asked, "https://s t n");
  EXPECT_EQ(call("enroll", {{"url", "https://s"}, {"token", "bad"}}).problem->field, "token");
  EXPECT_TRUE(call("unenroll").ok());
  const json status = parse(call("status"));
  EXPECT_EQ(status["server"]["state"], "connected");
  EXPECT_GT(status["agent"]["pid"], 0);
  EXPECT_EQ(status["slots"], 8);
  EXPECT_EQ(parse(call("diagnostics"))["policy"], "none");
}

TEST_F(ConsoleTest, WhatKeepsANewTaskFromRunningIsSaidAndItIsTakenAllTheSame) {
  ConsoleControls controls;
  controls.concerns = [](const TaskSpec& task) {
    return task.type == "echo" ? std::vector<std::string>()
                               : std::vector<std::string>{"nobody runs " + task.type, "and \xe2\x98\x83"};
  };
  serve(std::move(controls));
  const json kept = parse(call("createTask", {{"task", {{"type", "nobody"}}}}));
  EXPECT_EQ(kept["warnings"], (json{"nobody runs nobody", "and \xe2\x98\x83"}));
  EXPECT_FALSE(parse(call("getTask", {{"id", kept["id"]}})).contains("warnings"))
      << "they are of that moment";
  EXPECT_FALSE(parse(call("createTask", {{"task", {{"type", "echo"}}}})).contains("warnings"));
  json warnings;
  (void)client().follow("createTask", encode_json(json{{"task", {{"type", "nobody"}}}, {"follow", true}}), 1s,
                        [&](std::string_view event) {
                          if (event.empty()) return Next::go_on;
                          warnings = json::parse(event)["task"]["warnings"];
                          return Next::leave;
                        });
  EXPECT_EQ(warnings, kept["warnings"]);
  EXPECT_FALSE(call("createTask", {{"task", {{"type", ""}}}}).ok())
      << "a warning is no refusal, and this is one";
}

TEST_F(ConsoleTest, TheSocketBelongsToOneAgent) {
  const auto second = ConsoleServer::start({address_, "", ""}, {}, *ledger_, *runner_, clock_, log_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_TRUE(call("status").ok()) << "and the first one keeps it";
}

}  // namespace
}  // namespace agenttask::agent
