#include "platform/protocol/task.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/problem.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask {
namespace {

using enum TaskStatus;

TEST(TaskStatus, HasTheTransitionsOfTheContract) {
  const std::vector<TaskStatus> all{pending, sent, awaiting_choice, running, complete, failed, cancelled};
  const std::vector<std::pair<TaskStatus, std::vector<TaskStatus>>> table{
      {pending, {sent, awaiting_choice, failed, cancelled}},
      {sent, {awaiting_choice, running, failed, cancelled}},
      {awaiting_choice, {sent, failed, cancelled}},
      {running, {sent, complete, failed, cancelled}},
      {complete, {}},
      {failed, {}},
      {cancelled, {}}};
  for (const auto& [from, to] : table) {
    for (const auto each : all)
      EXPECT_EQ(may_become(from, each), std::find(to.begin(), to.end(), each) != to.end());
    EXPECT_EQ(has_ended(from), to.empty());
    EXPECT_EQ(*parse_task_status(to_string(from)), from);
  }
  EXPECT_TRUE(parse_task_status("done").has_error());
  EXPECT_TRUE(parse_task_status("Complete").has_error());
}

TEST(Task, ShowsDataAndResultInFullOnly) {
  Task task;
  task.spec.id = "0192a5b0-0000-7000-8000-000000000001";
  task.spec.type = "echo";
  task.spec.data = R"({"message":"Hello"})";
  task.state.result = R"({"data":{"message":"Hello"},"success":true})";
  EXPECT_TRUE(task_to_json(task, Detail::full).contains("data"));
  EXPECT_TRUE(task_to_json(task, Detail::full).contains("result"));
  EXPECT_FALSE(task_to_json(task, Detail::summary).contains("data"));
  EXPECT_FALSE(task_to_json(task, Detail::summary).contains("result"));
}

// A device without a server has no id: its tasks are written and read all the same.
TEST(Task, MayBelongToNoNode) {
  Task task;
  task.spec.id = "0192d5a0-0000-7000-8000-000000000001";
  task.spec.type = "echo";
  const auto again = task_from_json(task_to_json(task, Detail::full));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, task);
}

TEST(AddOutput, MarksWhatWasDropped) {
  nlohmann::json result = {{"success", true}, {"data", {{"exitCode", 0}}}};
  add_output(result,
             {{OutputStream::standard_output, 0, "head"}, {OutputStream::standard_output, 104, "tail"}});
  EXPECT_EQ(result["data"]["stdout"], "head\n[100 bytes dropped here]\ntail");
  EXPECT_EQ(result["data"]["stderr"], "");
}

TEST(AddOutput, KeepsBytesThatAreNotText) {
  nlohmann::json result = {{"data", nlohmann::json::object()}};
  add_output(result, {{OutputStream::standard_error, 0, "a\xFF"}, {OutputStream::standard_error, 2, "b"}});
  EXPECT_EQ(result["data"]["stderrEncoding"], "base64");
  EXPECT_EQ(*base64_decode(result["data"]["stderr"].get<std::string>()),
            "a\xFF"
            "b");
  // A character that was cut between two chunks is whole again.
  nlohmann::json text = {{"data", nlohmann::json::object()}};
  add_output(text, {{OutputStream::standard_output, 0, "\xC3"}, {OutputStream::standard_output, 1, "\xA9"}});
  EXPECT_EQ(text["data"]["stdout"], "\xC3\xA9");
}

TEST(Problem, RoundTripsWithItsExtraMembers) {
  const Problem problem{409, "ambiguous-node", "two nodes are called \"x\"", "node",
                        R"({"candidates":["a","b"]})"};
  const Problem again = decode_problem(409, encode(problem));
  EXPECT_EQ(again.code, problem.code);
  EXPECT_EQ(again.detail, problem.detail);
  EXPECT_EQ(again.field, problem.field);
  EXPECT_EQ(again.extra, problem.extra);
}

TEST(Problem, SurvivesBytesAndBodiesOfOthers) {
  EXPECT_TRUE(is_utf8(encode(Problem{400, "invalid", "\xFF\xFE"})));
  const Problem proxy = decode_problem(502, "<html>\nBad Gateway</html>");
  EXPECT_EQ(proxy.code, "http-502");
  EXPECT_EQ(proxy.detail, "<html> Bad Gateway</html>");
  EXPECT_LE(decode_problem(502, std::string(1'000'000, 'x')).detail.size(), 300U);
  EXPECT_EQ(to_problem(Error{ErrorCode::denied, "no"}).status, 403);
}

TEST(Problem, OfAnybodyHasACodeAndIsBounded) {
  EXPECT_EQ(decode_problem(400, R"({"code":1})").code, "http-400");
  EXPECT_EQ(decode_problem(400, R"({"code":""})").code, "http-400");
  const nlohmann::json large = {{"code", std::string(1000, 'c')}, {"detail", std::string(1'000'000, 'd')}};
  EXPECT_LE(decode_problem(500, large.dump()).code.size(), 64U);
  EXPECT_LE(decode_problem(500, large.dump()).detail.size(), 4096U);
  // Text that is cut is still text.
  EXPECT_EQ(decode_problem(502, std::string(299, 'x') + "\u00e4").detail, std::string(299, 'x'));
}

}  // namespace
}  // namespace agenttask
