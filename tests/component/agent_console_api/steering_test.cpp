#include <optional>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/console_api/console_calls.hpp"
#include "platform/protocol/json.hpp"
#include "tests/component/agent_console_api/device_fixture.hpp"

/// The calls that steer tasks, and who may make them: with a real ledger and runner, and peers of our choice.
namespace agenttask::agent {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

const os::Peer kRoot{.user_name = "root", .user_id = "0", .is_administrator = true};
const os::Peer kOperator{.user_name = "op", .user_id = "999", .groups = {"operators"}};
const os::Peer kViewer{.user_name = "eve", .user_id = "1001", .groups = {"viewers"}, .is_person = true};
const os::Peer kPerson{.user_name = "ann", .user_id = "1000", .is_person = true};
const os::Peer kStranger{.user_name = "daemon", .user_id = "1"};

class Steering : public DeviceFixture {
 protected:
  void SetUp() override {
    DeviceFixture::SetUp();
    calls_ = std::make_unique<ConsoleCalls>(settings_, controls_, *ledger_, *runner_, clock_);
  }

  /// Every line that the call sends; the last is its answer.
  std::vector<json> lines(const os::Peer& peer, const char* name, const json& arguments,
                          const std::function<bool(const json&)>& goes_on = {}) {
    std::vector<json> sent;
    bool gone = false;
    const ConsoleCalls::Caller caller{peer,
                                      [&](std::string_view line) -> Result<void> {
                                        sent.push_back(json::parse(line));
                                        if (goes_on && !goes_on(sent.back())) gone = true;
                                        return {};
                                      },
                                      [&] { return gone; },
                                      {}};
    EXPECT_TRUE(calls_->answer(encode_json(json{{"call", name}, {"arguments", arguments}}), caller));
    return sent;
  }
  json call(const os::Peer& peer, const char* name, const json& arguments = json::object()) {
    return lines(peer, name, arguments).back();
  }
  /// The result, which has to be one.
  json result(const os::Peer& peer, const char* name, const json& arguments = json::object()) {
    const json answer = call(peer, name, arguments);
    EXPECT_TRUE(answer.contains("result")) << name << ": " << answer;
    return answer.contains("result") ? answer["result"] : json::object();
  }
  json problem(const os::Peer& peer, const char* name, const json& arguments = json::object()) {
    const json answer = call(peer, name, arguments);
    EXPECT_TRUE(answer.contains("problem")) << name << ": " << answer;
    return answer.contains("problem") ? answer["problem"] : json{{"status", 0}, {"code", ""}, {"detail", ""}};
  }
  std::string create(const json& task) {
    return result(kRoot, "createTask", {{"task", task}})["id"].get<std::string>();
  }
  std::string question(const char* chooser = "user", const char* type = "nobody") {
    return create({{"type", type},
                   {"data", {{"secret", "s3cr3t"}}},
                   {"chooser", chooser},
                   {"choices", {{{"name", "confirm"}, {"description", "Proceed"}}, {{"name", "cancel"}}}}});
  }
  std::string every(const char* interval_line, std::int64_t interval = 3'600'000) {
    return create({{"type", "command"},
                   {"data", {{"cmd", interval_line}}},
                   {"schedule", {{"updateInterval", interval}}}});
  }
  json wait_for(const std::string& id, const std::function<bool(const json&)>& check) {
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    while (std::chrono::steady_clock::now() < deadline) {
      json task = result(kRoot, "getTask", {{"id", id}});
      if (check(task)) return task;
      std::this_thread::sleep_for(5ms);
    }
    ADD_FAILURE() << "not in time: " << result(kRoot, "getTask", {{"id", id}});
    return json::object();
  }
  json between_runs(const std::string& id, int runs) {
    return wait_for(id,
                    [&](const json& task) { return task["runCount"] == runs && task["status"] == "sent"; });
  }

  const ConsoleSettings settings_{"", "operators", "viewers"};
  const ConsoleControls controls_;
  std::unique_ptr<ConsoleCalls> calls_;
};

TEST_F(Steering, EachRightHoldsTheOneBefore) {
  EXPECT_EQ(right_of(kRoot, settings_), Right::run);
  EXPECT_EQ(right_of(kOperator, settings_), Right::run);
  EXPECT_EQ(right_of(kViewer, settings_), Right::view);
  EXPECT_EQ(right_of(kPerson, settings_), Right::choose);
  EXPECT_EQ(right_of(kStranger, settings_), Right::none);
  EXPECT_EQ(right_of(kViewer, {}), Right::choose) << "a group counts only where it was named";
  EXPECT_EQ(right_of({.user_id = "5", .groups = {""}}, {}), Right::none);
}

TEST_F(Steering, WhoIsLoggedInMayMakeNoOtherCall) {
  const std::string id = question();
  const json by_id{{"id", id}};
  for (const char* name : {"getRuns",       "getOutput",  "explainTask", "watch",      "cancelTask",
                           "deleteTask",    "pauseTask",  "resumeTask",  "runTask",    "status",
                           "diagnostics",   "getWorkers", "getMessages", "createTask", "updateTask",
                           "createMessage", "hold",       "release",     "enroll",     "unenroll"}) {
    EXPECT_EQ(problem(kPerson, name, by_id)["status"], 403) << name;
    EXPECT_EQ(problem(kStranger, name, by_id)["status"], 403) << name;
  }
  for (const char* name : {"getTask", "getTasks", "chooseTask"}) {
    EXPECT_EQ(problem(kStranger, name, by_id)["status"], 403) << name;
  }
  for (const char* name : {"pauseTask", "resumeTask", "runTask", "createMessage"}) {
    EXPECT_EQ(problem(kViewer, name, by_id)["status"], 403) << name;
  }
}

TEST_F(Steering, WhoIsLoggedInSeesTheirQuestionsAndNothingElse) {
  const std::string mine = question();
  const std::string not_mine = question("operator");
  const std::string other = create({{"type", "nobody"}});
  const json list = result(kPerson, "getTasks", {{"full", true}});
  ASSERT_EQ(list["tasks"].size(), 1U) << list;
  EXPECT_EQ(list["onlyChoices"], true);
  EXPECT_EQ(list["tasks"][0]["id"], mine);
  EXPECT_EQ(list["tasks"][0]["choices"][0]["description"], "Proceed");
  EXPECT_EQ(encode_json(list).find("s3cr3t"), std::string::npos) << "what it is given is not theirs to read";
  EXPECT_EQ(result(kPerson, "getTask", {{"id", mine}})["status"], "awaiting_choice");
  EXPECT_FALSE(result(kPerson, "getTask", {{"id", mine}}).contains("data"));
  EXPECT_EQ(result(kPerson, "getTask", {{"id", mine.substr(mine.size() - 12)}})["id"], mine);
  EXPECT_EQ(problem(kPerson, "getTasks", {{"status", "complete"}})["status"], 403);
  // One that they may not see, one that there is not, and @last look all the same.
  const std::string nowhere = "018f7e3a-0000-7000-8000-000000000001";
  for (const std::string& id :
       {not_mine, other, nowhere, other.substr(other.size() - 12), std::string("@last")}) {
    for (const char* name : {"getTask", "chooseTask"}) {
      json arguments{{"id", id}};
      if (std::string_view(name) == "chooseTask") arguments["option"] = "confirm";
      const json refused = problem(kPerson, name, arguments);
      EXPECT_EQ(refused["status"], 404) << refused;
      EXPECT_EQ(refused["detail"],
                "no task " + id + " waits for your choice; agenttask list shows those that do");
    }
  }
  EXPECT_EQ(result(kRoot, "getTask", {{"id", not_mine}})["status"], "awaiting_choice");
  EXPECT_EQ(result(kViewer, "getTasks")["tasks"].size(), 3U);
}

TEST_F(Steering, TheListOfQuestionsGoesPageByPage) {
  std::vector<std::string> mine;
  for (int i = 0; i < 5; ++i) {
    mine.insert(mine.begin(), question());
    question("operator");
    create({{"type", "nobody"}});
  }
  std::vector<std::string> seen;
  json arguments{{"limit", 2}};
  for (int page = 0; page < 10; ++page) {
    const json list = result(kPerson, "getTasks", arguments);
    EXPECT_LE(list["tasks"].size(), 2U);
    for (const json& task : list["tasks"]) seen.push_back(task["id"].get<std::string>());
    if (list["nextCursor"].is_null()) break;
    arguments["cursor"] = list["nextCursor"];
  }
  EXPECT_EQ(seen, mine);
}

TEST_F(Steering, TheFirstAnswerCountsAndTheNextHearsWhoseItWas) {
  const std::string id = question("user", "echo");
  const json chosen = result(kPerson, "chooseTask", {{"id", id}, {"option", "confirm"}});
  EXPECT_EQ(chosen["chosen"]["option"], "confirm");
  EXPECT_EQ(chosen["chosen"]["by"], "user:ann");
  EXPECT_FALSE(chosen.contains("data"));
  for (const os::Peer& peer : {kPerson, kRoot}) {
    const json late = problem(peer, "chooseTask", {{"id", id}, {"option", "cancel"}});
    EXPECT_EQ(late["status"], 409);
    EXPECT_EQ(late["code"], "already-chosen");
    EXPECT_EQ(late["chosen"]["by"], "user:ann");
  }
  const json ended = wait_for(id, [](const json& task) { return task["status"] == "complete"; });
  EXPECT_EQ(ended["chosen"]["option"], "confirm");
  EXPECT_EQ(result(kRoot, "getRuns", {{"id", id}})["runs"][0]["option"], "confirm");
  // They may look what became of it, but not what came out.
  const json seen = result(kPerson, "getTask", {{"id", id}});
  EXPECT_EQ(seen["status"], "complete");
  EXPECT_FALSE(seen.contains("result"));
}

TEST_F(Steering, AnAnswerNeedsAQuestionAndOneOfItsNames) {
  const std::string id = question("operator");
  for (const char* option : {"Confirm", "yes", " confirm"}) {
    const json refused = problem(kRoot, "chooseTask", {{"id", id}, {"option", option}});
    EXPECT_EQ(refused["status"], 400);
    EXPECT_NE(refused["detail"].get<std::string>().find("confirm, cancel"), std::string::npos);
  }
  EXPECT_EQ(problem(kRoot, "chooseTask", {{"id", id}, {"option", ""}})["field"], "option");
  EXPECT_EQ(problem(kRoot, "chooseTask", {{"id", id}})["field"], "option");
  EXPECT_EQ(problem(kRoot, "chooseTask", {{"id", id}, {"option", std::string(129, 'x')}})["field"], "option");
  EXPECT_EQ(problem(kRoot, "chooseTask", {{"id", create({{"type", "nobody"}})}, {"option", "a"}})["code"],
            "not-asked");
  EXPECT_EQ(problem(kViewer, "chooseTask", {{"id", id}, {"option", "confirm"}})["status"], 403)
      << "a viewer sees it, and it is not for them to answer";
  EXPECT_EQ(result(kOperator, "chooseTask", {{"id", id}, {"option", "cancel"}})["chosen"]["by"], "user:op");
  const std::string cancelled = question();
  result(kRoot, "cancelTask", {{"id", cancelled}});
  EXPECT_EQ(problem(kRoot, "chooseTask", {{"id", cancelled}, {"option", "cancel"}})["code"], "already-ended");
}

TEST_F(Steering, APersonWithoutANameIsKnownByTheirId) {
  const std::string id = question();
  const os::Peer nameless{.user_id = "4711", .is_person = true};
  EXPECT_EQ(result(nameless, "chooseTask", {{"id", id}, {"option", "confirm"}})["chosen"]["by"], "user:4711");
}

TEST_F(Steering, APausedTaskStartsNothingAndAnExtraRunLeavesItSo) {
  const std::string id = every("echo out; exit 3");
  between_runs(id, 1);
  json task = result(kRoot, "pauseTask", {{"id", id}});
  EXPECT_EQ(task["paused"], true);
  EXPECT_EQ(task["reason"], "paused");
  EXPECT_EQ(result(kRoot, "pauseTask", {{"id", id}})["paused"], true) << "twice is once";
  result(kRoot, "runTask", {{"id", id}});
  task = between_runs(id, 2);
  EXPECT_EQ(task["reason"], "paused");
  task = result(kRoot, "resumeTask", {{"id", id}});
  EXPECT_FALSE(task.contains("paused"));
  EXPECT_EQ(task["reason"], "not-due");
  EXPECT_GT(task["nextRunAt"].get<std::int64_t>(), clock_.wall());
  EXPECT_EQ(result(kRoot, "getRuns", {{"id", id}})["runs"].size(), 2U);
  const std::string ended = create({{"type", "echo"}});
  wait_for(ended, [](const json& one) { return one["status"] == "complete"; });
  for (const char* name : {"pauseTask", "resumeTask", "runTask"}) {
    EXPECT_EQ(problem(kRoot, name, {{"id", ended}})["code"], "already-ended") << name;
    EXPECT_EQ(problem(kRoot, name, {{"id", "ffffffff"}})["code"], "unknown-task") << name;
    EXPECT_EQ(problem(kRoot, name, json::object())["field"], "id") << name;
  }
}

TEST_F(Steering, AnExtraRunIsFollowedAloneToItsEnd) {
  const std::string id = every("echo run; exit 3");
  between_runs(id, 1);
  const auto sent = lines(kRoot, "runTask", {{"id", id}, {"follow", true}});
  std::string output;
  for (const json& line : sent) {
    if (line.value("event", "") != "output") continue;
    output += line["text"].get<std::string>();
    EXPECT_EQ(line["run"], 2);
  }
  EXPECT_EQ(output, "run\n") << "and nothing of the run before";
  const json answer = sent.back()["result"];
  EXPECT_EQ(answer["run"]["run"], 2);
  EXPECT_EQ(answer["run"]["status"], "failed");
  EXPECT_EQ(answer["run"]["result"]["data"]["exitCode"], 3);
  EXPECT_EQ(answer["task"]["status"], "sent");
}

TEST_F(Steering, AFollowedRunIsItsLastAttempt) {
  const std::string mark = (folder_.path() / "mark").string();
  const std::string id = create({{"type", "command"},
                                 {"data", {{"cmd", "[ -e " + mark + " ] || { : >" + mark + "; exit 3; }"}}},
                                 {"schedule", {{"scheduledFor", clock_.wall() + 3'600'000}}},
                                 {"options", {{"retry", {{"maxAttempts", 2}, {"backoff", 10}}}}}});
  const json answer = lines(kRoot, "runTask", {{"id", id}, {"follow", true}}).back()["result"];
  const json task = answer.contains("task") ? answer["task"] : answer;
  EXPECT_EQ(task["status"], "complete") << answer;
  EXPECT_EQ(task["runCount"], 2);
}

TEST_F(Steering, MessagesArePostedReadAndFollowed) {
  for (int i = 1; i <= 3; ++i) {
    const json posted =
        result(kRoot, "createMessage", {{"roomId", i == 2 ? "b" : "a"}, {"content", {{"n", i}}}});
    EXPECT_EQ(posted["content"]["n"], i);
    EXPECT_FALSE(posted.contains("taskId"));
  }
  const json all = result(kViewer, "getMessages")["messages"];
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0]["content"]["n"], 1) << "oldest first";
  EXPECT_EQ(result(kViewer, "getMessages", {{"roomId", "a"}})["messages"].size(), 2U);
  EXPECT_EQ(result(kViewer, "getMessages", {{"roomId", "none"}})["messages"].size(), 0U);
  EXPECT_EQ(result(kViewer, "getMessages", {{"limit", 1}})["messages"][0]["content"]["n"], 3);
  EXPECT_EQ(problem(kRoot, "createMessage", {{"content", json::object()}})["field"], "roomId");
  EXPECT_EQ(problem(kRoot, "createMessage", {{"roomId", "a"}, {"content", "text"}})["field"], "content");
  EXPECT_EQ(problem(kRoot, "createMessage", {{"roomId", "a\n"}, {"content", json::object()}})["field"],
            "roomId");
  const std::size_t frame = encode_json(json{{"text", ""}}).size();
  const auto sized = [&](std::size_t bytes) {
    return json{{"roomId", "big"}, {"content", {{"text", std::string(bytes - frame, 'x')}}}};
  };
  result(kRoot, "createMessage", sized(limits::kMessageBytes));
  EXPECT_EQ(problem(kRoot, "createMessage", sized(limits::kMessageBytes + 1))["field"], "content");

  std::vector<int> seen;
  const auto sent =
      lines(kViewer, "getMessages", {{"roomId", "a"}, {"limit", 1}, {"follow", true}}, [&](const json& line) {
        if (!line.contains("event")) return false;
        seen.push_back(line["message"]["content"]["n"].get<int>());
        if (seen.size() == 1) {
          result(kRoot, "createMessage", {{"roomId", "b"}, {"content", {{"n", 4}}}});
          result(kRoot, "createMessage", {{"roomId", "a"}, {"content", {{"n", 5}}}});
          result(kRoot, "createMessage", {{"roomId", "a"}, {"content", {{"n", 6}}}});
        }
        return seen.size() < 3;
      });
  EXPECT_EQ(seen, (std::vector<int>{3, 5, 6}));
}

}  // namespace
}  // namespace agenttask::agent
