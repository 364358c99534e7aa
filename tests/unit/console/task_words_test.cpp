#include "agent/console/task_words.hpp"

#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/protocol/task_request.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
using Rest = std::optional<std::vector<std::string>>;

constexpr UnixMilliseconds kNow = 1'763'788'200'000;

TEST(CommandData, IsALineOrWordsNeverBoth) {
  CommandWords words;
  EXPECT_FALSE(command_data(words, std::nullopt, true));
  EXPECT_FALSE(command_data(words, Rest({}), true));
  EXPECT_EQ(*command_data(words, Rest({"ls", "-l", "a b", "[x,y]", ""}), true),
            json::parse(R"({"argv":["ls","-l","a b","[x,y]",""]})"));
  words.line = "[ -f x ] && echo 'a'";
  EXPECT_EQ(*command_data(words, std::nullopt, true), json({{"cmd", "[ -f x ] && echo 'a'"}}));
  EXPECT_FALSE(command_data(words, Rest({"ls"}), true));
}

TEST(CommandData, TakesEnvironmentApartAtTheFirstEquals) {
  CommandWords words;
  words.line = "env";
  words.environment = {"A=1=2", "B=", "C=[x,y]"};
  EXPECT_EQ((*command_data(words, std::nullopt, true))["env"],
            json({{"A", "1=2"}, {"B", ""}, {"C", "[x,y]"}}));
  words.environment = {"NOVALUE"};
  EXPECT_FALSE(command_data(words, std::nullopt, true));
  words.environment = {"=x"};
  EXPECT_FALSE(command_data(words, std::nullopt, true));
}

TEST(CommandData, ARelativeFolderIsOursOnThisDeviceOnly) {
  CommandWords words;
  words.line = "pwd";
  words.cwd = "sub/..";
  const json local = *command_data(words, std::nullopt, true);
  EXPECT_TRUE(std::filesystem::path(local["cwd"].get<std::string>()).is_absolute());
  EXPECT_EQ((*command_data(words, std::nullopt, false))["cwd"], "sub/..");
}

TEST(TaskRequest, HoldsWhatWasTypedAndNothingElse) {
  EXPECT_EQ(*task_request("echo", json::object(), {}, kNow), json::parse(R"({"type":"echo","data":{}})"));
  TaskWords words;
  words.timeout = "2m";
  words.at = "+1h";
  words.expires = "+1d";
  words.max_output = "64KiB";
  words.priority = -3;
  words.key = "disk";
  words.attempts = 4;
  words.backoff = "5s";
  words.on_interrupt = "rerun";
  words.tags = {"a", "b c"};
  words.metadata = R"({"n":9007199254740993})";
  words.room = "r";
  words.world = "w";
  words.description = "d";
  const auto request = task_request("command", json{{"cmd", "true"}}, words, kNow);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->at("options"),
            json::parse(R"({"timeout":120000,"expiresAt":1763874600000,"maxOutputBytes":65536,"priority":-3,
                            "concurrencyKey":"disk","onInterrupt":"rerun","retry":{"maxAttempts":4,"backoff":5000}})"));
  EXPECT_EQ(request->at("schedule"), json({{"scheduledFor", kNow + 3'600'000}}));
  EXPECT_EQ(request->at("metadata"), json({{"n", 9007199254740993}}));
  // The agent takes it as it is.
  const auto spec = parse_task_request(*request);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->tags, (std::vector<std::string>{"a", "b c"}));
}

TEST(LikeRequest, TakesWhatIsNotTypedFromTheOtherTask) {
  const json task =
      json::parse(R"({"id":"x","type":"ASK","nodeId":"n","status":"failed","addTime":1763700000000,
    "data":{"a":1,"b":null},"description":"d","tags":["t"],"roomId":"r","metadata":{"k":1},"runCount":3,
    "options":{"timeout":5000,"expiresAt":1763700060000,"retry":{"maxAttempts":3,"backoff":1000}},
    "schedule":{"scheduledFor":1763700000000},"choices":[{"name":"a"},{"name":"b"}],"defaultChoice":"a",
    "choiceExpiresAt":1763700030000,"chooser":"user","result":{"success":false},"updatedAt":1})");
  TaskWords words;
  words.like = "x";
  const json same = like_request(task, *task_request("", json::object(), words, kNow), false, kNow);
  json expected = task;
  for (const char* name :
       {"id", "nodeId", "status", "addTime", "runCount", "result", "updatedAt", "schedule"})
    expected.erase(name);
  expected["options"]["expiresAt"] = kNow + 60'000;
  expected["choiceExpiresAt"] = kNow + 30'000;
  EXPECT_EQ(same, expected) << "times that are past are as long from now as they were from its beginning";
  EXPECT_TRUE(parse_task_request(same));

  words.timeout = "1m";
  words.backoff = "2s";
  words.at = "+1h";
  words.tags = {"u"};
  words.metadata = R"({"l":2})";
  const json other = like_request(task, *task_request("", json{{"c", 1}}, words, kNow), true, kNow);
  EXPECT_EQ(other["data"], json({{"c", 1}}));
  EXPECT_EQ(other["tags"], json({"u"}));
  EXPECT_EQ(other["metadata"], json({{"k", 1}, {"l", 2}}));
  EXPECT_EQ(other["options"], json::parse(R"({"timeout":60000,"expiresAt":1763791860000,
    "retry":{"maxAttempts":3,"backoff":2000}})"));
  EXPECT_EQ(other["schedule"], json({{"scheduledFor", kNow + 3'600'000}}));
  EXPECT_EQ(other["choiceExpiresAt"], kNow + 3'630'000);

  TaskWords question;
  question.like = "x";
  question.choices = {"c"};
  const json asks = like_request(task, *task_request("", json::object(), question, kNow), false, kNow);
  EXPECT_EQ(asks["choices"], json::parse(R"([{"name":"c"}])"));
  EXPECT_FALSE(asks.contains("defaultChoice") || asks.contains("choiceExpiresAt") ||
               asks.contains("chooser"));
}

TEST(LikeRequest, AGridGoesOnWithItsNextPoint) {
  const json task{{"type", "echo"},
                  {"data", json::object()},
                  {"addTime", kNow - 500},
                  {"schedule", {{"scheduledFor", kNow - 2'500}, {"updateInterval", 1'000}}}};
  TaskWords words;
  words.like = "x";
  const auto repeat = [&](const json& like) {
    return like_request(like, *task_request("", json::object(), words, kNow), false, kNow)["schedule"];
  };
  EXPECT_EQ(repeat(task), json({{"scheduledFor", kNow + 500}, {"updateInterval", 1'000}}));
  json later = task;
  later["schedule"]["scheduledFor"] = kNow + 1;
  EXPECT_EQ(repeat(later), later["schedule"]);
}

TEST(TaskRequest, HoldsAScheduleAndAQuestion) {
  TaskWords words;
  words.at = "+1h";
  words.every = "1d12h";
  words.jitter = "5m";
  words.overlap = "cancel-previous";
  words.catch_up = "all";
  words.choices = {"confirm:Proceed: really", "cancel", "[x,y]:a,b"};
  words.default_choice = "cancel";
  words.choose_until = "in 2h";
  words.chooser = "user";
  const auto request = task_request("ASK", json::object(), words, kNow);
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->at("schedule"), json({{"scheduledFor", kNow + 3'600'000},
                                           {"updateInterval", 36 * 3'600'000},
                                           {"jitter", 300'000},
                                           {"overlap", "cancelPrevious"},
                                           {"catchUp", "all"}}));
  EXPECT_EQ(request->at("choices"), json::parse(R"([{"name":"confirm","description":"Proceed: really"},
    {"name":"cancel"},{"name":"[x,y]","description":"a,b"}])"));
  const auto spec = parse_task_request(*request);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->schedule.overlap, Overlap::cancel_previous);
  EXPECT_EQ(spec->default_choice, "cancel");
  EXPECT_EQ(spec->choice_expires_at, kNow + 7'200'000);
  EXPECT_EQ(spec->chooser, Chooser::user);
  EXPECT_TRUE(outlasts_its_console(words));
  EXPECT_FALSE(outlasts_its_console({}));
}

TEST(TaskRequest, RefusesHalfAQuestionOrSchedule) {
  const auto refused = [](auto change) {
    TaskWords words;
    change(words);
    const auto request = task_request("ASK", json::object(), words, kNow);
    return request ? std::string() : request.error().message;
  };
  EXPECT_EQ(refused([](TaskWords& words) { words.every = "5"; }).substr(0, 7), "--every");
  EXPECT_EQ(refused([](TaskWords& words) { words.every = "10ms"; }).substr(0, 7), "--every");
  EXPECT_EQ(refused([](TaskWords& words) { words.every = "never"; }).substr(0, 7), "--every");
  EXPECT_EQ(refused([](TaskWords& words) { words.jitter = "x"; }).substr(0, 8), "--jitter");
  EXPECT_EQ(refused([](TaskWords& words) { words.choices = {":text"}; }).substr(0, 8), "--choice");
  EXPECT_NE(refused([](TaskWords& words) { words.default_choice = "a"; }), "");
  EXPECT_NE(refused([](TaskWords& words) { words.chooser = "user"; }), "");
  EXPECT_NE(refused([](TaskWords& words) {
              words.choices = {"a"};
              words.default_choice = "a";
            }).find("--choose-until"),
            std::string::npos);
  EXPECT_NE(refused([](TaskWords& words) { words.backoff = "5s"; }).find("--attempts"), std::string::npos);
}

TEST(TaskChanges, TakeAScheduleAway) {
  TaskWords words;
  words.every = "never";
  EXPECT_EQ(*task_changes(words, kNow), json::parse(R"({"schedule":{"updateInterval":null}})"));
  words.every = "12h";
  EXPECT_EQ(*task_changes(words, kNow), json::parse(R"({"schedule":{"updateInterval":43200000}})"));
}

TEST(TaskRequest, NamesTheOptionAtFault) {
  TaskWords words;
  words.timeout = "soon";
  EXPECT_EQ(task_request("echo", json::object(), words, kNow).error().message.substr(0, 9), "--timeout");
  words.timeout.clear();
  words.at = "soon";
  EXPECT_EQ(task_request("echo", json::object(), words, kNow).error().message.substr(0, 4), "--at");
  words.at.clear();
  words.metadata = "[]";
  EXPECT_EQ(task_request("echo", json::object(), words, kNow).error().message.substr(0, 10), "--metadata");
}

TEST(TaskChanges, WantSomethingToChange) {
  EXPECT_FALSE(task_changes({}, kNow));
  TaskWords words;
  words.tags = {"x"};
  EXPECT_EQ(*task_changes(words, kNow), json::parse(R"({"tags":["x"]})"));
}

TEST(ParseSize, KnowsUnitsAndBounds) {
  EXPECT_EQ(*parse_size("0"), 0);
  EXPECT_EQ(*parse_size("65536"), 65536);
  EXPECT_EQ(*parse_size("64KiB"), 65536);
  EXPECT_EQ(*parse_size("4M"), 4 * 1024 * 1024);
  for (const char* text : {"", "-1", "1.5MiB", "1GB", "KiB", "99999999999999999999"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

}  // namespace
}  // namespace agenttask::console
