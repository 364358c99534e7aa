#include "agent/workers/worker_protocol.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

template <class Kind>
Kind expect(const std::string& line) {
  const WorkerLine parsed = parse_worker_line(line);
  const Kind* kind = std::get_if<Kind>(&parsed);
  EXPECT_NE(nullptr, kind) << line;
  return kind == nullptr ? Kind{} : *kind;
}

TEST(WorkerLine, EachKindIsRead) {
  EXPECT_TRUE(expect<WorkerValid>(R"({"valid":true})").valid);
  const auto no = expect<WorkerValid>(R"( {"valid": false, "detail": "not yet"})"
                                      "\r");
  EXPECT_FALSE(no.valid);
  EXPECT_EQ("not yet", no.detail);
  const auto call = expect<WorkerCall>(R"({"call":{"id":-7,"name":"getTask","arguments":{"id":"x"}}})");
  EXPECT_EQ(-7, call.id);
  EXPECT_EQ("getTask", call.name);
  EXPECT_EQ(R"({"id":"x"})", call.arguments);
  EXPECT_EQ("{}", expect<WorkerCall>(R"({"call":{"id":1,"name":"getTasks"}})").arguments);
  EXPECT_EQ("copying 40 %", expect<WorkerProgress>(R"({"progress":{"text":"copying","percent":40}})").text);
  EXPECT_EQ("5 %", expect<WorkerProgress>(R"({"progress":{"percent":5}})").text);
  const auto result = expect<WorkerResultLine>(R"({"result":{"n":9007199254740993}})");
  EXPECT_EQ(R"({"n":9007199254740993})", result.value);
  EXPECT_TRUE(result.is_object);
  EXPECT_FALSE(expect<WorkerResultLine>(R"({"result":[1]})").is_object);
  const auto error = expect<WorkerFailure>(R"({"error":{"code":"c","message":"m","data":{"a":1}}})");
  EXPECT_EQ("c", error.code);
  EXPECT_EQ("m", error.message);
  EXPECT_EQ(R"({"a":1})", error.data);
}

TEST(WorkerLine, EverythingElseIsOutput) {
  for (const char* line :
       {"", "text", "[]", "{}", "null", "{", R"({"level":"info"})", R"({"call":1})", R"({"call":{"id":1}})",
        R"({"call":{"id":"1","name":"x"}})", R"({"call":{"id":1,"name":"x","more":1}})", R"({"valid":1})",
        R"({"valid":true,"other":1})", R"({"progress":"x"})", R"({"progress":{}})",
        R"({"call":{"id":1,"name":"x"},"progress":{"text":"x"}})", "\xff{\"valid\":true}"}) {
    EXPECT_TRUE(expect<WorkerOutput>(line).fault.empty()) << line;
  }
}

TEST(WorkerLine, AnEndThatCantBeReadIsAFault) {
  for (const char* line : {R"({"result":{"n":1e400}})", R"({"result":{"a":1,"a":2}})", R"({"result":)",
                           R"({"error":"text"})", R"({"error":{"code":1}})", R"({"result":{},"x":1})"}) {
    EXPECT_FALSE(expect<WorkerOutput>(line).fault.empty()) << line;
  }
}

class WorkerLinesTest : public testing::Test {
 protected:
  std::vector<std::string> lines;
  std::string printed;
  WorkerLines split{[this](std::string_view line, std::string_view) { lines.emplace_back(line); },
                    [this](std::string_view bytes) { printed += bytes; }};
};

TEST_F(WorkerLinesTest, WhatCannotBeAMessageGoesOnAtOnce) {
  split.take("a");
  EXPECT_EQ("a", printed);
  split.take("b{\n");
  EXPECT_EQ("ab{\n", printed);
  split.take("\n\nx\n");
  EXPECT_EQ("ab{\n", printed.substr(0, 4));
  EXPECT_EQ((std::vector<std::string>{"", ""}), lines);
  EXPECT_EQ("ab{\nx\n", printed);
}

TEST_F(WorkerLinesTest, LinesMayComeInPieces) {
  const std::string text = "out\n{\"valid\":true}\n  {\"a\":1}\nrest";
  for (char c : text) split.take({&c, 1});
  split.finish();
  EXPECT_EQ((std::vector<std::string>{"{\"valid\":true}", "  {\"a\":1}"}), lines);
  EXPECT_EQ("out\nrest", printed);
}

TEST_F(WorkerLinesTest, TheLastLineNeedsNoNewline) {
  split.take("{\"result\":{}}");
  EXPECT_TRUE(lines.empty());
  split.finish();
  EXPECT_EQ((std::vector<std::string>{"{\"result\":{}}"}), lines);
}

TEST_F(WorkerLinesTest, ALineHasTwoMebibytesAndOneByteMoreIsOutput) {
  const std::string longest = "{" + std::string(kWorkerLineBytes - 1, 'x');
  split.take(longest);
  split.take("\n");
  ASSERT_EQ(1u, lines.size());
  EXPECT_EQ(longest, lines[0]);
  lines.clear();
  split.take(longest);
  split.take("x");
  split.take("yz\nnext\n{}\n");
  EXPECT_EQ((std::vector<std::string>{"{}"}), lines);
  EXPECT_EQ(longest + "xyz\nnext\n", printed);
  EXPECT_FALSE(split.lost_an_answer());
  split.take(R"({"result":{"x":")" + std::string(kWorkerLineBytes, 'x') + "\"}}\n");
  EXPECT_TRUE(split.lost_an_answer());
  EXPECT_EQ(1u, lines.size());
}

TEST_F(WorkerLinesTest, AFloodOfBlanksIsBoundedToo) {
  const std::string blanks(kWorkerLineBytes, ' ');
  split.take(blanks);
  EXPECT_TRUE(printed.empty());
  split.take(blanks);
  EXPECT_EQ(blanks + blanks, printed);
}

TEST(WorkerRequest, ExecuteHasDataAndChoiceAsOptions) {
  Task task;
  task.spec.id = "0190aaaa-0000-7000-8000-000000000001";
  task.spec.type = "T";
  task.spec.data = R"({"n":9007199254740993})";
  auto line = *parse_json(encode_execute(task, "run-id", 2));
  EXPECT_EQ("1.0", line["execute"]["protocol"]);
  EXPECT_EQ(2, line["execute"]["run"]);
  EXPECT_EQ(*parse_json(task.spec.data), line["execute"]["options"]);
  EXPECT_EQ(task.spec.id, line["execute"]["task"]["id"]);
  task.state.chosen = ChoiceMade{"confirm", "default", 1};
  line = *parse_json(encode_execute(task, "run-id", 2));
  EXPECT_EQ("confirm", line["execute"]["options"]["option"]);
  EXPECT_EQ('\n', encode_validate(task).back());
}

TEST(WorkerRequest, AnswersCarryAResultOrAProblem) {
  CallAnswer answer;
  answer.result = R"({"a":1})";
  EXPECT_EQ("{\"answer\":{\"id\":7,\"result\":{\"a\":1}}}\n", encode_answer(7, answer));
  const auto problem =
      *parse_json(encode_answer(-1, CallAnswer::problem({ErrorCode::not_found, "no \xff", "id"})));
  EXPECT_EQ("not-found", problem["answer"]["problem"]["code"]);
  EXPECT_EQ("id", problem["answer"]["problem"]["field"]);
  EXPECT_EQ("{\"stop\":{\"cause\":\"replaced\"}}\n", encode_stop(StopCause::replaced));
}

}  // namespace
}  // namespace agenttask::agent
