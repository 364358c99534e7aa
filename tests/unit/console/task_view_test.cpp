#include "agent/console/task_view.hpp"

#include <cstdlib>
#include <ctime>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/console/explanation.hpp"
#include "agent/console/health.hpp"
#include "agent/console/kept_output.hpp"
#include "agent/console/message_view.hpp"
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
  spec.description.clear();
  spec.type = "service";
  spec.data = R"({"service":"solana","method":"getBalance","arguments":{"account":"a"}})";
  EXPECT_EQ(describe_work(spec), R"(solana getBalance {"account":"a"})");
  spec.data = R"({"service":"solana","method":"refresh"})";
  EXPECT_EQ(describe_work(spec), "solana refresh");
}

json a_recurring_task() {
  json task = a_task();
  task.erase("endTime");
  task["status"] = "sent";
  task["reason"] = "not-due";
  task["schedule"] = {{"updateInterval", 86'400'000}, {"overlap", "queue"}};
  task["nextRunAt"] = kNow + 3'600'000;
  task["occurrence"] = 12;
  task["missedCount"] = 2;
  task["runCount"] = 10;
  return task;
}

json a_question() {
  json task = a_task();
  for (const char* member : {"endTime", "startTime", "result"}) task.erase(member);
  task["status"] = "awaiting_choice";
  task["runCount"] = 0;
  task["choices"] = {{{"name", "confirm"}, {"description", "Proceed\x1b[31m"}}, {{"name", "cancel"}}};
  task["defaultChoice"] = "cancel";
  task["choiceExpiresAt"] = kNow + 7'200'000;
  task["chooser"] = "user";
  return task;
}

TEST(TaskView, ShowsWhatComesNextOfARecurringTask) {
  const auto view = read_task(a_recurring_task());
  ASSERT_TRUE(view) << view.error().message;
  const std::string page = render_task(*view, kNow);
  for (const char* part :
       {"every 1d, overlap queue", "(in 1h)", "Occurrence: 12", "Missed:     2", "Runs:       10"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  }
  json paused = a_recurring_task();
  paused["paused"] = true;
  paused["status"] = "running";
  paused.erase("reason");
  EXPECT_EQ(describe_status(read_task(paused)->task), "running, paused");
  EXPECT_NE(render_task(*read_task(paused), kNow, kFleetVerbs).find("agenttask fleet resume"),
            std::string::npos);
  const auto list = render_task_list(json{{"tasks", {a_recurring_task(), a_task()}}}, kPlain, {}, kNow);
  EXPECT_NE(list->find("NEXT"), std::string::npos) << *list;
  EXPECT_NE(list->find("in 1h"), std::string::npos) << *list;
}

TEST(TaskView, ShowsAQuestionAndHowToAnswerIt) {
  const auto view = read_task(a_question());
  ASSERT_TRUE(view) << view.error().message;
  const std::string page = render_task(*view, kNow);
  for (const char* part : {"confirm  Proceed\\x1b[31m", "cancel (default)", "(in 2h)", "whoever is logged in",
                           "agenttask choose 018f7e3a-0000-7000-8000-000000000001 confirm|cancel"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  }
  json chosen = a_question();
  chosen["status"] = "complete";
  chosen["chosen"] = {{"option", "confirm"}, {"by", "user:ann"}, {"time", kNow - 3000}};
  EXPECT_NE(render_task(*read_task(chosen), kNow).find("confirm, by user:ann"), std::string::npos);
  EXPECT_EQ(render_task(*read_task(chosen), kNow).find("Choose with"), std::string::npos);
  json asked = a_question();
  asked["choiceRequested"] = {{"option", "confirm"}, {"by", "operator:bob"}, {"time", kNow - 3000}};
  EXPECT_NE(render_task(*read_task(asked), kNow).find("operator:bob"), std::string::npos);
}

TEST(TaskList, ShowsTheQuestionsThatWait) {
  const json answer{{"tasks", {a_question()}}};
  const auto text = render_task_list(answer, kPlain, {false, true, kFleetVerbs}, kNow);
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("  agenttask fleet choose 018f7e3a-0000-7000-8000-000000000001 confirm|cancel\n"),
            std::string::npos)
      << *text;
  EXPECT_NE(text->find("; then cancel"), std::string::npos);
  json spaced = a_question();
  spaced["choices"][0]["name"] = "not now";
  spaced["choiceRequested"] = {{"option", "cancel"}, {"by", "operator:bob"}, {"time", kNow - 3000}};
  const auto asked = render_task_list(json{{"tasks", {spaced}}}, kPlain, {false, true, kFleetVerbs}, kNow);
  EXPECT_NE(asked->find(" 'not now'|cancel\n"), std::string::npos) << *asked;
  EXPECT_NE(asked->find("operator:bob"), std::string::npos) << *asked;
  EXPECT_EQ(text->find('\x1b'), std::string::npos);
  // Who may see nothing else gets them without asking for them.
  const json only{{"tasks", {a_question()}}, {"onlyChoices", true}};
  EXPECT_NE(render_task_list(only, kPlain, {}, kNow)->find("agenttask choose"), std::string::npos);
  EXPECT_EQ(*render_task_list(json{{"tasks", json::array()}, {"onlyChoices", true}}, kPlain, {}, kNow),
            "no task waits for a choice\n");
  // A terminal is told that something waits; a pipe gets the table alone.
  const Screen terminal(true, true, 0, false);
  EXPECT_NE(
      render_task_list(answer, terminal, {}, kNow)->find("1 waits for a choice: agenttask list --awaiting"),
      std::string::npos);
  EXPECT_EQ(render_task_list(answer, kPlain, {}, kNow)->find("--awaiting"), std::string::npos);
}

TEST(RunList, TellsOccurrencesExtraRunsAndChoices) {
  const auto run = [](int number, int occurrence, const char* option) {
    json value{{"taskId", "018f7e3a-0000-7000-8000-000000000001"},
               {"run", number},
               {"status", "complete"},
               {"startTime", kNow},
               {"endTime", kNow + 5}};
    if (occurrence != 0) value["occurrence"] = occurrence;
    if (*option != 0) value["option"] = option;
    return value;
  };
  auto text = render_run_list(json{{"runs", {run(2, 0, "confirm"), run(1, 1, "cancel")}}}, kPlain, kNow);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_NE(text->find("OCCURRENCE"), std::string::npos) << *text;
  EXPECT_NE(text->find("extra"), std::string::npos) << *text;
  EXPECT_NE(text->find("confirm"), std::string::npos) << *text;
  text = render_run_list(json{{"runs", {run(1, 0, "")}}}, kPlain, kNow);
  EXPECT_EQ(text->find("OCCURRENCE"), std::string::npos) << *text;
  EXPECT_EQ(text->find("CHOSEN"), std::string::npos) << *text;
  EXPECT_EQ(text->find("0 B"), std::string::npos) << "nobody said that it wrote nothing: " << *text;
  json counted = run(1, 0, "");
  counted["result"] = {{"success", true}, {"data", {{"stdoutBytes", 7}}}};
  text = render_run_list(json{{"runs", {counted}}}, kPlain, kNow);
  EXPECT_NE(text->find("7 B       -"), std::string::npos) << *text;
  counted["result"] = {{"success", true},
                       {"data", {{"stdoutBytes", 7}}},
                       {"output", {{"stdoutBytes", 9}, {"stderrBytes", 0}}}};
  text = render_run_list(json{{"runs", {counted}}}, kPlain, kNow);
  EXPECT_NE(text->find("9 B     0 B"), std::string::npos) << "a worker's own data is not ours: " << *text;
}

TEST(OutputTail, KeepsTheEndOfEachStream) {
  OutputTail tail;
  EXPECT_TRUE(tail.is_empty());
  EXPECT_EQ(tail.render(kLocalVerbs) + tail.last_error_line(), "");
  tail.add(R"({"event":"output","run":1,"stream":"stdout","offset":0,"text":"out\n"})");
  tail.add(R"({"end":{}})");
  tail.add("no JSON");
  EXPECT_EQ(tail.last_error_line(), "");
  tail.add(OutputChunk{OutputStream::standard_error, 0, std::string(200'000, 'x')});
  tail.add(OutputChunk{OutputStream::standard_error, 200'000, "\nthe last\x1b word\n \n"});
  EXPECT_FALSE(tail.is_empty());
  EXPECT_EQ(tail.last_error_line(), "the last\\x1b word");
  const std::string text = tail.render(kLocalVerbs);
  EXPECT_NE(text.find("Standard output (4 B):\nout\n"), std::string::npos) << text.substr(0, 200);
  EXPECT_NE(text.find("Standard error (195 KiB"), std::string::npos) << text.substr(0, 200);
  EXPECT_LT(text.size(), 70'000U);
}

TEST(ShellQuoted, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(shell_quoted("not-now_1"), "not-now_1");
  EXPECT_EQ(shell_quoted("not now"), "'not now'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("$(x)|y"), "'$(x)|y'");
}

TEST(Announcement, SaysWhatWasUnderstood) {
  setenv("TZ", "UTC", 1);
  tzset();
  Task task;
  task.spec.id = "4f2a";
  task.state.status = TaskStatus::sent;
  EXPECT_EQ(announce(task, kNow), "") << "it simply starts";
  task.spec.schedule.scheduled_for = kNow + 14 * 3'600'000;
  task.state.next_run_at = task.spec.schedule.scheduled_for;
  EXPECT_EQ(announce(task, kNow), "runs 2025-11-22 19:10:00 (in 14h)");
  task.spec.schedule.update_interval = 86'400'000;
  EXPECT_EQ(announce(task, kNow), "runs first 2025-11-22 19:10:00 (in 14h), then every 1d");
  task.spec.schedule.scheduled_for = kNow - 60'000;
  task.state.next_run_at.reset();
  EXPECT_EQ(announce(task, kNow),
            "runs first at once, as 2025-11-22 05:09:00 (1m ago) is past, then every 1d");
  task.spec.schedule = {};
  task.spec.choices = {{"yes", ""}, {"no", ""}};
  EXPECT_EQ(announce(task, kNow, kFleetVerbs),
            "asks at once; choose with: agenttask fleet choose 4f2a yes|no");
  unsetenv("TZ");
  tzset();
}

TEST(Explanation, TellsOfQuestionsAndSchedules) {
  auto text = explain(json{{"task", a_question()}, {"reason", ""}, {"detail", "waits for somebody"}}, kNow);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_NE(text->find("Choose with: agenttask choose"), std::string::npos) << *text;
  EXPECT_NE(text->find("then cancel counts"), std::string::npos) << *text;
  text = explain(json{{"task", a_recurring_task()}, {"reason", "not-due"}, {"detail", ""}}, kNow);
  EXPECT_NE(
      text->find("It repeats every 1d, overlap queue; the last occurrence was number 12, and 2 were missed."),
      std::string::npos)
      << *text;
  EXPECT_NE(text->find("Next run: "), std::string::npos) << *text;
}

TEST(Explanation, SaysWhatToDoAboutAPauseAndAnInterruption) {
  json paused = a_task();
  paused["status"] = "sent";
  paused["paused"] = true;
  for (const char* name : {"startTime", "endTime", "result"}) paused.erase(name);
  auto text = explain(json{{"task", paused}, {"reason", "paused"}, {"detail", ""}}, kNow);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_NE(text->find("It starts when it is resumed"), std::string::npos) << *text;
  EXPECT_EQ(text->find("extra run"), std::string::npos) << *text;
  json interrupted = a_task();
  interrupted["status"] = "failed";
  interrupted["reason"] = "interrupted";
  text = explain(json{{"task", interrupted}, {"reason", ""}, {"detail", ""}}, kNow);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_NE(text->find("agenttask add --like 018f7e3a-0000-7000-8000-000000000001\n"), std::string::npos)
      << *text;
}

// What the options say is of the next run: somebody may have changed them meanwhile.
TEST(Explanation, SaysOfTheRunUnderWayWhetherItIsOutsideTheAgent) {
  json task = a_task();
  task["status"] = "running";
  for (const char* name : {"endTime", "result"}) task.erase(name);
  for (const bool wanted : {false, true}) {
    task["options"]["outlivesAgent"] = wanted;
    auto text = explain(json{{"task", task}, {"reason", ""}, {"detail", "it runs"}, {"outside", true}}, kNow);
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_NE(text->find("outside the agent's service: it goes on"), std::string::npos) << *text;
    text = explain(json{{"task", task}, {"reason", ""}, {"detail", "it runs"}}, kNow);
    EXPECT_EQ(text->find("outside the agent"), std::string::npos) << *text;
  }
}

/// As a server tells of one that its device has, or has not yet.
json a_task_of_a_server(const char* status, const char* why) {
  json task = a_task();
  task["status"] = status;
  task["reason"] = why;
  for (const char* name : {"startTime", "endTime", "result"}) task.erase(name);
  return task;
}

TEST(Explanation, TellsOperatorsTheirOwnVerbsAndDevices) {
  const auto told = [](const json& task) {
    const auto text = explain(json{{"task", task}}, kNow, kFleetVerbs);
    return text ? *text : text.error().message;
  };
  auto text = told(a_task_of_a_server("sent", "held"));
  EXPECT_NE(text.find("(held)"), std::string::npos) << text;
  EXPECT_NE(text.find("agenttask fleet node release " + a_task()["nodeId"].get<std::string>() + " "),
            std::string::npos)
      << text;
  text = told(a_task_of_a_server("sent", "not-due"));
  EXPECT_NE(text.find("agenttask fleet update"), std::string::npos) << text;
  text = told(a_task_of_a_server("sent", ""));
  EXPECT_NE(text.find("Its device has it"), std::string::npos) << text;
  json offline = a_task_of_a_server("pending", "device-offline");
  offline["detail"] = "the device is not connected; the task goes out when it comes";
  offline["requested"] = {"pause", "run\x1b[1m"};
  text = told(offline);
  EXPECT_NE(text.find("It waits for its device.\nThe device is not connected;"), std::string::npos) << text;
  EXPECT_NE(text.find("has not taken it yet: pause, run"), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  json question = a_question();
  EXPECT_NE(told(question).find("Choose with: agenttask fleet choose"), std::string::npos) << told(question);
  question["choiceRequested"] = {{"option", "cancel"}, {"by", "operator:ann"}, {"time", kNow}};
  EXPECT_EQ(told(question).find("Choose with"), std::string::npos) << told(question);
  EXPECT_NE(told(question).find("has still to confirm it"), std::string::npos) << told(question);
  json failed = a_task();
  failed["status"] = "failed";
  failed["reason"] = "interrupted";
  EXPECT_NE(told(failed).find("agenttask fleet add --like"), std::string::npos) << told(failed);
  failed["reason"] = "";
  EXPECT_EQ(told(failed).find("()"), std::string::npos) << told(failed);
}

TEST(Messages, AreShownOldestFirstAndPrintable) {
  const auto message = [](const char* id, UnixMilliseconds time, const json& content) {
    return json{{"id", id}, {"nodeId", "n1"}, {"roomId", "te\x1b[1m"}, {"content", content}, {"time", time}};
  };
  const json later = message("018f7e3a-0000-7000-8000-000000000002", kNow + 1000, {{"text", "b\x1b[2J\nc"}});
  const json sooner = message("018f7e3a-0000-7000-8000-000000000001", kNow, {{"files", 3}});
  const auto text = render_messages(json{{"messages", {later, sooner}}});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(text->find('\x1b'), std::string::npos);
  EXPECT_LT(text->find(R"({"files":3})"), text->find("b\\x1b[2J\n    c")) << *text;
  EXPECT_EQ(*render_messages(json{{"messages", json::array()}}), "no messages\n");
  EXPECT_FALSE(render_messages(json{{"messages", 5}}));
  EXPECT_FALSE(render_messages(json{{"messages", {5}}}));
}

TEST(Messages, AreATextOrAnObject) {
  EXPECT_EQ(*message_content("hello", ""), json({{"text", "hello"}}));
  EXPECT_EQ(*message_content("", R"({"a":1})"), json({{"a", 1}}));
  EXPECT_FALSE(message_content("", ""));
  EXPECT_FALSE(message_content("x", "{}"));
  EXPECT_FALSE(message_content("", "[]"));
}

TEST(TaskList, FitsANarrowTerminal) {
  json task = a_task();
  task["data"]["cmd"] = "a rather long command line that nobody can read in a table";
  const auto text = render_task_list(json{{"tasks", {task}}}, Screen(true, true, 80, false), {}, kNow);
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
    return *render_task_list(json{{"tasks", {task}}}, kPlain, {}, kNow);
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
  const auto text = render_task_list(answer, terminal, {}, kNow);
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("018f7e3a-0000-7000-8000-000000000001"), std::string::npos);
  EXPECT_NE(text->find("--cursor 17"), std::string::npos) << *text;
  EXPECT_EQ(render_task_list(answer, kPlain, {}, kNow)->find("--cursor"), std::string::npos)
      << "a pipe gets rows";
  EXPECT_EQ(*render_task_list(json{{"tasks", json::array()}}, kPlain, {}, kNow), "no tasks\n");
  EXPECT_FALSE(render_task_list(json{{"tasks", 5}}, kPlain, {}, kNow));
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
