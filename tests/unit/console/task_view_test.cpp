#include "agent/console/task_view.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/console/explanation.hpp"
#include "agent/console/health.hpp"
#include "agent/console/task_list.hpp"
#include "agent/console/text.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

constexpr UnixMilliseconds kNow = 1'763'788'200'000;
const Screen kPlain(false, false, 0, false);

json a_task() {
  return json::parse(R"({"id":"018f7e3a-0000-7000-8000-000000000001","nodeId":"n1","type":"command","tags":[],
    "metadata":{},"data":{"cmd":"ls"},"status":"complete","addTime":1763788190000,"updatedAt":1763788195000,
    "startTime":1763788191000,"endTime":1763788195000,"runCount":1,
    "result":{"success":true,"data":{"exitCode":0,"durationMs":4000,"stdout":"a\nb\n","stderr":"",
              "stdoutBytes":4,"stderrBytes":0,"truncated":false}}})");
}

TEST(TaskView, ReadsATaskWithMegabytesOfOutput) {
  json task = a_task();
  task["result"]["data"]["stdout"] = std::string(20 * 1024 * 1024, 'x');
  const auto view = read_task(task);
  ASSERT_TRUE(view) << view.error().message;
  EXPECT_EQ(view->result.standard_output.size(), 20U * 1024 * 1024);
  EXPECT_EQ(view->result.exit_code, 0);
}

TEST(TaskView, ReadsTasksFromBeforeAnEnrolment) {
  json task = a_task();
  task["nodeId"] = "";
  EXPECT_TRUE(read_task(task));
}

TEST(TaskView, SaysWhatTheDeviceHasNotTakenYet) {
  json task = a_task();
  EXPECT_EQ(render_task(*read_task(task), kNow).find("Asked for"), std::string::npos);
  task["requested"] = {"update", "delete", 5};
  EXPECT_NE(render_task(*read_task(task), kNow).find("update, delete; the device has not taken it yet"),
            std::string::npos);
  task["requested"] = "update";
  EXPECT_TRUE(read_task(task));
}

TEST(TaskView, RefusesWhatIsNoTask) {
  EXPECT_FALSE(read_task(json::array()));
  EXPECT_FALSE(read_task(json{{"id", 5}}));
  json task = a_task();
  task["status"] = "asleep";
  EXPECT_FALSE(read_task(task));
}

TEST(TaskView, SurvivesResultsOfAnyShape) {
  for (const char* text :
       {R"(null)", R"(5)", R"("x")", R"({"data":7})", R"({"data":{"exitCode":"no","stdout":9}})",
        R"({"success":"yes","error":"boom"})"}) {
    json task = a_task();
    task["result"] = json::parse(text);
    const auto view = read_task(task);
    ASSERT_TRUE(view) << text;
    EXPECT_FALSE(render_task(*view, kNow).empty());
  }
}

TEST(TaskView, NeutralisesNamesAndOutputOnItsPages) {
  json task = a_task();
  task["description"] = "\x1b]0;evil\x07";
  task["result"]["data"]["stdout"] = "\x1b[31mred\x1b[0m\n";
  const auto view = read_task(task);
  ASSERT_TRUE(view) << view.error().message;
  const std::string pages = render_task(*view, kNow) + render_tasks({*view}, kPlain, true, kNow);
  EXPECT_EQ(pages.find('\x1b'), std::string::npos) << pages;
  EXPECT_EQ(pages.find('\x07'), std::string::npos);
  EXPECT_NE(pages.find("\\x1b[31mred"), std::string::npos);
}

TEST(TaskView, DecodesOutputThatIsNotText) {
  json task = a_task();
  task["result"]["data"]["stdout"] = "/w==";
  task["result"]["data"]["stdoutEncoding"] = "base64";
  EXPECT_EQ(read_task(task)->result.standard_output, "\xFF");
}

TEST(TaskView, SaysWhatATaskIsAbout) {
  TaskSpec spec;
  spec.type = "command";
  spec.data = R"({"cmd":"make all"})";
  EXPECT_EQ(describe_work(spec), "make all");
  spec.data = R"({"argv":["ls","-l"]})";
  EXPECT_EQ(describe_work(spec), "ls -l");
  spec.description = "nightly";
  EXPECT_EQ(describe_work(spec), "nightly");
}

TEST(TaskList, FitsANarrowTerminal) {
  json task = a_task();
  task["data"]["cmd"] = "a rather long command line that nobody can read in a table";
  const auto text = render_task_list(json{{"tasks", {task}}}, Screen(true, true, 80, false), false, kNow);
  ASSERT_TRUE(text);
  for (std::size_t begin = 0; begin < text->size();) {
    const std::size_t end = text->find('\n', begin);
    EXPECT_LE(display_width(text->substr(begin, end - begin)), 80U) << *text;
    begin = end + 1;
  }
  EXPECT_NE(text->find("\n000000000001  command"), std::string::npos) << *text;
}

TEST(TaskList, HasNoColumnThatNothingIsIn) {
  json bare = a_task();
  bare.erase("data");
  const auto list = [&](const json& task) {
    return *render_task_list(json{{"tasks", {task}}}, kPlain, false, kNow);
  };
  EXPECT_EQ(list(bare).find("WHAT"), std::string::npos);
  bare["description"] = "nightly backup";
  EXPECT_NE(list(bare).find("WHAT"), std::string::npos);
  EXPECT_NE(list(bare).find("nightly backup"), std::string::npos);
  EXPECT_NE(list(a_task()).find("ls"), std::string::npos);
}

TEST(TaskList, ShowsHowToGoOn) {
  const json answer{{"tasks", {a_task()}}, {"nextCursor", "17"}};
  const Screen terminal(true, true, 0, false);
  const auto text = render_task_list(answer, terminal, false, kNow);
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("018f7e3a-0000-7000-8000-000000000001"), std::string::npos);
  EXPECT_NE(text->find("--cursor 17"), std::string::npos) << *text;
  EXPECT_EQ(render_task_list(answer, kPlain, false, kNow)->find("--cursor"), std::string::npos)
      << "a pipe gets rows";
  EXPECT_EQ(*render_task_list(json{{"tasks", json::array()}}, kPlain, false, kNow), "no tasks\n");
  EXPECT_FALSE(render_task_list(json{{"tasks", 5}}, kPlain, false, kNow));
}

TEST(Explanation, SaysWhyAndWhatWouldChangeIt) {
  json task = a_task();
  task["status"] = "sent";
  const auto text =
      explain(json{{"task", task}, {"reason", "held"}, {"detail", "the device is on hold"}}, kNow);
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("waits on the device (held)"), std::string::npos) << *text;
  EXPECT_NE(text->find("agenttask release"), std::string::npos) << *text;
}

TEST(Health, FindsWhatIsWrong) {
  const json good = json::parse(R"({"agent":{"version":"1","pid":5,"user":"root","startedAt":1763788190000},
    "slots":8,"running":[],"tasks":{"sent":2},"hold":false,"nodeId":"n1",
    "ledger":{"fileBytes":4096,"outboxReports":0,"outboxBytes":0,"outboxBudget":1000},
    "server":{"state":"connected","url":"https://s:8443","clockOffset":200}})");
  EXPECT_TRUE(read_status(good, kNow).problems.empty());
  EXPECT_NE(read_status(good, kNow).page.find("2 waiting"), std::string::npos);
  const auto with = [&](const char* patch) {
    json bad = good;
    bad.merge_patch(json::parse(patch));
    return read_status(bad, kNow).problems.size();
  };
  EXPECT_EQ(with(R"({"server":{"state":"disconnected","lastError":"refused"}})"), 1U);
  EXPECT_EQ(with(R"({"server":{"state":"refused"}})"), 1U);
  EXPECT_EQ(with(R"({"server":{"clockOffset":30000}})"), 0U);
  EXPECT_EQ(with(R"({"server":{"clockOffset":-30001}})"), 1U);
  EXPECT_EQ(with(R"({"server":{"certificateExpires":5}})"), 1U);
  EXPECT_EQ(with(R"({"ledgerProblem":"disk full"})"), 1U);
  EXPECT_EQ(with(R"({"ledger":{"outboxBytes":990}})"), 1U);
  EXPECT_EQ(with(R"({"server":{"state":"not-enrolled"}})"), 0U);
  EXPECT_EQ(read_status(good, kNow).page.find("Was node"), std::string::npos);
  json moved = good;
  moved["formerNodes"] = json::parse(R"([{"nodeId":"n0","tasks":3,"running":1},{"nodeId":"n-","tasks":1}])");
  const auto page = read_status(moved, kNow).page;
  EXPECT_NE(page.find("n0, 3 tasks of it are kept here, 1 still running"), std::string::npos) << page;
  EXPECT_NE(page.find("n-, 1 task of it is kept here\n"), std::string::npos) << page;
  EXPECT_TRUE(read_status(moved, kNow).problems.empty());
  EXPECT_EQ(read_status(json::object(), kNow).problems.size(), 0U);  // any shape is survived
}

}  // namespace
}  // namespace agenttask::console
