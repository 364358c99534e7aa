#include "platform/protocol/message.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"

namespace agenttask {
namespace {

const std::string kId = "0192a5b0-0000-7000-8000-000000000001";

/// The golden file holds the bytes on the wire: a change of them is a change of the protocol, and of
/// docs/protocol.md. AGENTTASK_UPDATE_GOLDEN=1 writes them anew.
std::string golden(const std::string& name, const std::string& actual) {
  const auto file = std::filesystem::path(AGENTTASK_TESTS_FOLDER) / "unit/protocol/golden" / name;
  if (std::getenv("AGENTTASK_UPDATE_GOLDEN") != nullptr) std::ofstream(file) << actual << '\n';
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  std::string expected = text.str();
  if (!expected.empty()) expected.pop_back();
  return expected;
}

Task example_task() {
  Task task;
  task.spec.id = kId;
  task.spec.node_id = "node-1";
  task.spec.type = "command";
  task.spec.description = "say hi";
  task.spec.tags = {"a", "b"};
  task.spec.room_id = "room";
  task.spec.data = R"({"cmd":"echo hi"})";
  task.spec.metadata = R"({"k":9007199254740993})";
  task.spec.options.retry = RetryPolicy{3, 1000, 60000};
  task.spec.options.concurrency_key = "db";
  task.spec.options.outlives_agent = true;
  task.spec.schedule.scheduled_for = 1700000000000;
  task.state.status = TaskStatus::complete;
  task.state.add_time = 1;
  task.state.sent_time = 2;
  task.state.start_time = 3;
  task.state.end_time = 4;
  task.state.updated_at = 4;
  task.state.run_count = 1;
  task.state.result = R"({"data":{"exitCode":0},"success":true})";
  return task;
}

Run example_run() {
  return {kId, 1, RunStatus::complete, "", 3, 4, R"({"data":{"exitCode":0},"success":true})"};
}

/// With everything that a schedule and a question bring.
Task recurring_task() {
  Task task;
  task.spec.id = kId;
  task.spec.node_id = "node-1";
  task.spec.type = "DAILY_REPORT";
  task.spec.schedule = {5, 60'000, 250, Overlap::cancel_previous, CatchUp::all};
  task.spec.choices = {{"confirm", "Proceed"}, {"cancel", ""}};
  task.spec.default_choice = "cancel";
  task.spec.choice_expires_at = 99;
  task.spec.chooser = Chooser::user;
  task.state.status = TaskStatus::sent;
  task.state.paused = true;
  task.state.missed_count = 4;
  task.state.occurrence = 7;
  task.state.chosen = ChoiceMade{"confirm", "user:bob", 8};
  task.state.choice_requested = ChoiceMade{"cancel", "operator:ann", 9};
  return task;
}

RoomMessage example_message() {
  return {"0192a5b0-0000-7000-8000-000000000002", "node-1", "room", "world", kId, 3, R"({"text":"hi"})", 11};
}

TEST(Directives, StandOnTheWireAsWritten) {
  const auto task = example_task();
  std::string lines;
  lines += encode(Directive{1, TaskDirective{task.spec, 1}}) + "\n";
  lines += encode(Directive{2, UpdateDirective{kId, R"({"description":"x"})"}}) + "\n";
  lines += encode(Directive{3, CancelDirective{kId}}) + "\n";
  lines += encode(Directive{4, DeleteDirective{kId}}) + "\n";
  lines += encode(Directive{5, SettingsDirective{true}}) + "\n";
  lines += encode(Directive{6, ChooseDirective{kId, {"confirm", "operator:ann", 9}, 2, 4}}) + "\n";
  lines += encode(Directive{7, PauseDirective{kId}}) + "\n";
  lines += encode(Directive{8, ResumeDirective{kId}}) + "\n";
  lines += encode(Directive{9, RunDirective{kId, 3, kId}});
  EXPECT_EQ(lines, golden("directives.ndjson", lines));
}

TEST(Reports, StandOnTheWireAsWritten) {
  const auto task = example_task();
  std::string lines;
  lines += encode(Report{1, StartedReport{kId, 1, 3}}) + "\n";
  lines += encode(Report{2, OutputReport{kId, 1, {OutputStream::standard_output, 0, "hi\n"}}}) + "\n";
  lines += encode(Report{3, OutputReport{kId, 1, {OutputStream::standard_error, 7, "\xFF"}}}) + "\n";
  lines += encode(Report{4, EndedReport{kId, example_run(), task.state}}) + "\n";
  lines += encode(Report{5, ChangedReport{task}}) + "\n";
  lines += encode(Report{6, CreatedReport{task, {example_run()}, true}}) + "\n";
  lines += encode(Report{7, SnapshotEndReport{1}}) + "\n";
  lines += encode(Report{8, RefusedReport{3, kId, "invalid", "why"}}) + "\n";
  const auto recurring = recurring_task();
  lines += encode(Report{9, StartedReport{kId, 2, 3, 7, "confirm"}}) + "\n";
  lines += encode(Report{10, ChosenReport{kId, recurring.state}}) + "\n";
  lines += encode(Report{11, MessageReport{example_message()}}) + "\n";
  lines += encode(Report{12, ChangedReport{recurring}});
  EXPECT_EQ(lines, golden("reports.ndjson", lines));
}

TEST(Directives, ComeBackAsTheyWent) {
  const auto task = example_task();
  const auto decoded = decode_directive(encode(Directive{9, TaskDirective{task.spec, 77}}));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->sequence, 9);
  const auto* body = std::get_if<TaskDirective>(&decoded->body);
  ASSERT_NE(body, nullptr);
  EXPECT_EQ(body->spec, task.spec);
  EXPECT_EQ(body->add_time, 77);
  EXPECT_TRUE(
      *std::get<SettingsDirective>(decode_directive(encode(Directive{1, SettingsDirective{true}}))->body)
           .hold);
  const auto choose = decode_directive(encode(Directive{1, ChooseDirective{kId, {"a b", "default", 1}, 5}}));
  EXPECT_EQ(std::get<ChooseDirective>(choose->body).made, (ChoiceMade{"a b", "default", 1}));
  EXPECT_EQ(std::get<ChooseDirective>(choose->body).occurrence, 5);
  EXPECT_EQ(std::get<UpdateDirective>(
                decode_directive(encode(Directive{1, UpdateDirective{kId, R"({"tags":[]})"}}))->body)
                .changes,
            R"({"tags":[]})");
}

TEST(Reports, ComeBackAsTheyWent) {
  const auto task = example_task();
  const auto created = decode_report(encode(Report{6, CreatedReport{task, {example_run()}, true}}));
  ASSERT_TRUE(created.has_value());
  const auto* body = std::get_if<CreatedReport>(&created->body);
  ASSERT_NE(body, nullptr);
  EXPECT_EQ(body->task, task);
  ASSERT_EQ(body->runs.size(), 1U);
  EXPECT_EQ(body->runs[0], example_run());
  EXPECT_TRUE(body->snapshot);
  const auto changed = decode_report(encode(Report{1, ChangedReport{recurring_task()}}));
  EXPECT_EQ(std::get<ChangedReport>(changed->body).task, recurring_task());
  const auto posted = decode_report(encode(Report{1, MessageReport{example_message()}}));
  EXPECT_EQ(std::get<MessageReport>(posted->body).message, example_message());
  const auto chosen = decode_report(encode(Report{1, ChosenReport{kId, recurring_task().state}}));
  EXPECT_EQ(std::get<ChosenReport>(chosen->body).state, recurring_task().state);
  auto run = example_run();
  run.occurrence = 3;
  run.option = "confirm";
  const auto with_run = decode_report(encode(Report{1, CreatedReport{task, {run}, false}}));
  EXPECT_EQ(std::get<CreatedReport>(with_run->body).runs.front(), run);
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte += static_cast<char>(i);
  for (const std::string& bytes : {std::string("text\n\0more", 10), every_byte}) {
    const OutputChunk chunk{OutputStream::standard_error, 1LL << 40U, bytes};
    const auto output = decode_report(encode(Report{1, OutputReport{kId, 2, chunk}}));
    EXPECT_EQ(std::get<OutputReport>(output->body).chunk, chunk);
  }
}

TEST(Messages, WithFaultsInsideLetTheCursorPass) {
  for (
      const char* line :
      {R"({"sequence":4,"kind":"teleport"})", R"({"sequence":4})", R"({"sequence":4,"kind":"cancel"})",
       R"({"sequence":4,"kind":"cancel","taskId":"nonsense"})",
       R"({"sequence":4,"kind":"task","task":{"type":"x"}})",
       R"({"sequence":4,"kind":"task","task":{"id":"0192a5b0-0000-7000-8000-000000000001","type":"x","options":{"timeout":-1}}})"}) {
    const auto directive = decode_directive(line);
    ASSERT_TRUE(directive.has_value()) << line;
    EXPECT_EQ(directive->sequence, 4);
    const auto* unknown = std::get_if<UnknownMessage>(&directive->body);
    ASSERT_NE(unknown, nullptr) << line;
    EXPECT_FALSE(unknown->problem.empty());
  }
  // J2: an invented status is refused.
  const auto report = decode_report(
      R"({"sequence":1,"kind":"ended","taskId":"0192a5b0-0000-7000-8000-000000000001","state":{"status":"done"}})");
  EXPECT_TRUE(std::holds_alternative<UnknownMessage>(report->body));
}

TEST(Messages, WithoutASequenceBreakTheStream) {
  for (const char* line : {"", "{}", "[]", "nonsense", R"({"sequence":0,"kind":"cancel"})",
                           R"({"sequence":"1","kind":"cancel"})"}) {
    EXPECT_TRUE(decode_directive(line).has_error()) << line;
    EXPECT_TRUE(decode_report(line).has_error()) << line;
  }
}

TEST(Messages, IgnoreFieldsOfLaterVersions) {
  const auto directive =
      decode_directive(R"({"sequence":1,"kind":"cancel","taskId":")" + kId + R"(","later":{"x":1}})");
  EXPECT_TRUE(std::holds_alternative<CancelDirective>(directive->body));
}

TEST(Chain, RunsOverTheBytesOfEachLine) {
  const Cursor one = advance({}, "a");
  EXPECT_EQ(one.sequence, 1);
  EXPECT_EQ(one.chain, hex_encode(sha256("a")));
  const Cursor two = advance(one, "b");
  EXPECT_EQ(two.chain, hex_encode(sha256(sha256("a") + "b")));
  EXPECT_NE(advance({}, "ab").chain, two.chain);
}

TEST(Poll, RoundTripsBothWays) {
  const PollRequest request{
      "1.0",  "0.1.0", "linux-x86_64", "host", 3,    advance({}, "x"), advance({}, "y"), "i2",
      {"i1"}, 55000,   1234,           true,   {kId}};
  const auto decoded = decode_poll_request(encode(request));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(encode(*decoded), encode(request));
  PollAnswer answer;
  answer.protocol = "1.0";
  answer.epoch = 4;
  answer.resync = true;
  answer.time = 9;
  answer.name = "web-1";
  answer.watch = {kId};
  answer.lines = {encode(Directive{1, CancelDirective{kId}}), encode(Directive{2, DeleteDirective{kId}})};
  const auto answered = decode_poll_answer(encode(answer));
  ASSERT_TRUE(answered.has_value()) << answered.error().message;
  EXPECT_EQ(answered->lines, answer.lines);
  EXPECT_EQ(encode(*answered), encode(answer));
}

TEST(Poll, WorkersAreBounded) {
  PollRequest request;
  request.protocol = "1.0";
  request.incarnation = "i";
  EXPECT_EQ(encode(request).find("workers"), std::string::npos);
  EXPECT_FALSE(decode_poll_request(encode(request))->workers);
  request.workers = WorkerSummary{{"a", "b"}, {"s"}, 1};
  EXPECT_EQ(decode_poll_request(encode(request))->workers, request.workers);
  // What is too many is left out, and keeps nobody from polling.
  request.workers->types.assign(WorkerSummary::kMostNames + 1, std::string(limits::kTypeBytes, 'x'));
  EXPECT_EQ(decode_poll_request(encode(request))->workers->types.size(), WorkerSummary::kMostNames);
  request.workers->types = {std::string(limits::kTypeBytes + 1, 'x')};
  EXPECT_TRUE(decode_poll_request(encode(request)).has_error());
}

TEST(Poll, RefusesHostileCursors) {
  const auto body = [](const std::string& directives) {
    return R"({"protocol":"1.0","epoch":1,"incarnation":"i","reports":{"sequence":0,"chain":""},"directives":)" +
           directives + "}";
  };
  EXPECT_TRUE(decode_poll_request(body(R"({"sequence":0,"chain":""})")).has_value());
  for (const char* cursor : {R"({"sequence":-1,"chain":""})", R"({"sequence":1,"chain":""})",
                             R"({"sequence":0,"chain":"00"})", "5", "null", R"({"sequence":1,"chain":"ZZ"})",
                             R"({"chain":""})", R"({"sequence":9223372036854775807,"chain":""})"}) {
    EXPECT_TRUE(decode_poll_request(body(cursor)).has_error()) << cursor;
  }
}

TEST(ReportBatch, HoldsTheLimitOfMessages) {
  ReportBatch batch{"1.0", 1, "i", {}, std::vector<std::string>(limits::kReportsInPost, "{}")};
  EXPECT_EQ(decode_report_batch(encode(batch))->lines.size(), limits::kReportsInPost);
  batch.lines.emplace_back("{}");
  EXPECT_EQ(decode_report_batch(encode(batch)).error().code, ErrorCode::limit);
  EXPECT_TRUE(decode_report_batch("").has_error());
  EXPECT_TRUE(decode_report_batch("{}\n\n{}\n").has_error());
  const ReportAnswer answer{2, true, advance({}, "x")};
  EXPECT_EQ(encode(*decode_report_answer(encode(answer))), encode(answer));
}

TEST(Protocol, UnderstandsItsMajorVersionOnly) {
  EXPECT_TRUE(understands_protocol("1.0"));
  EXPECT_TRUE(understands_protocol("1.7"));
  for (const char* version : {"0.9", "2.0", "", "1", "1.", "1.x", "1.0.1", "-1.0", "1.-1"})
    EXPECT_FALSE(understands_protocol(version)) << version;
}

TEST(EndedReports, LoseWordsBeforeTheEnd) {
  constexpr std::size_t kDetail = 4096;
  constexpr std::size_t kReason = 64;
  const auto said = [](std::string detail, std::string why) {
    TaskState state;
    state.status = TaskStatus::failed;
    state.detail = std::move(detail);
    state.reason = why;
    state.chosen = ChoiceMade{"confirm", "user:" + std::string(2000, 'n'), 3};
    auto run = example_run();
    run.reason = std::move(why);
    const auto report = decode_report(encode(Report{1, EndedReport{kId, run, state}}));
    const auto* ended = std::get_if<EndedReport>(&report->body);
    EXPECT_NE(ended, nullptr);
    return ended != nullptr ? *ended : EndedReport{};
  };
  const std::string fits(kDetail, 'x');
  EXPECT_EQ(said(fits, std::string(kReason, 'r')).state.detail, fits);
  EXPECT_EQ(said(fits, std::string(kReason, 'r')).state.reason, std::string(kReason, 'r'));
  std::string wide;
  while (wide.size() <= kDetail) wide += "é€";
  const auto cut = said(wide, "timeout");
  EXPECT_EQ(cut.state.reason, "timeout");
  EXPECT_EQ(cut.run->reason, "timeout");
  EXPECT_EQ(cut.state.status, TaskStatus::failed);
  EXPECT_LE(cut.state.detail.size(), kDetail);
  EXPECT_GT(cut.state.detail.size(), kDetail - 4);
  EXPECT_TRUE(is_utf8(cut.state.detail));
  EXPECT_TRUE(cut.state.detail.ends_with("… [cut; it had " + std::to_string(wide.size()) + " bytes]"));
  // What is too long to be a reason is none, and told all the same.
  const auto odd_reason = said("why it failed", std::string(kReason + 1, 'r'));
  EXPECT_EQ(odd_reason.state.reason, "");
  EXPECT_EQ(odd_reason.run->reason, "");
  EXPECT_TRUE(odd_reason.state.detail.starts_with("the reason given is none: rrr"));
  EXPECT_TRUE(odd_reason.state.detail.ends_with("… [cut; it had 65 bytes]; why it failed"));
  EXPECT_LE(said(fits, std::string(kReason + 1, 'r')).state.detail.size(), kDetail);
  EXPECT_TRUE(cut.state.chosen->by.ends_with("bytes]"));
  EXPECT_EQ(said(std::string("a\0b", 3), "").state.detail, "a\uFFFDb");
  EXPECT_LE(said(std::string(kDetail, '\0'), "").state.detail.size(), kDetail);
  // What is no text at all is no report.
  const auto odd = decode_report(R"({"sequence":1,"kind":"ended","taskId":")" + std::string(kId) +
                                 R"(","state":{"status":"failed","detail":5}})");
  EXPECT_TRUE(std::holds_alternative<UnknownMessage>(odd->body));
  const auto refused =
      decode_report(encode(Report{1, RefusedReport{3, kId, "conflict", std::string(5000, 'm')}}));
  EXPECT_TRUE(std::get<RefusedReport>(refused->body).message.ends_with("it had 5000 bytes]"));
}

TEST(EndedReports, LoseTheResultBeforeTheEnd) {
  const std::size_t most = limits::kDataBytes + 64 * 1024;
  const std::string frame = R"({"data":"","error":{"code":"c"},"success":false})";
  const auto ended = [&](const std::string& result) {
    const std::string line = R"({"kind":"ended","sequence":1,"state":{"status":"failed"},"taskId":")" + kId +
                             R"(","run":{"run":1,"startTime":3,"status":"failed","taskId":")" + kId +
                             R"(","result":)" + result + "}}";
    const auto report = decode_report(line);
    EXPECT_TRUE(report);
    const auto* body = std::get_if<EndedReport>(&report->body);
    EXPECT_NE(body, nullptr);
    return body == nullptr ? std::string() : body->state.result;
  };
  const auto padded = [&](std::size_t size) {
    return R"({"data":")" + std::string(size - frame.size(), 'x') +
           R"(","error":{"code":"c"},"success":false})";
  };
  EXPECT_EQ(ended(padded(most)).size(), most);
  EXPECT_EQ(
      ended(padded(most + 1)),
      R"({"error":{"code":"c"},"note":"the result was left out: it had 1114113 bytes, and at most 1114112 )"
      R"(are kept","success":false})");
  EXPECT_EQ(ended("[1]"), R"({"note":"the result was left out: it was not a JSON object"})");
}

}  // namespace
}  // namespace agenttask
