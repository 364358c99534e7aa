#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <sys/resource.h>
#include <thread>

#include "platform/base/commit_point.hpp"
#include "tests/component/agent_runner/runner_fixture.hpp"

namespace agenttask {

void at_commit_point(CommitPoint point, CommitMoment moment) noexcept {
  agent::happened().add((moment == CommitMoment::before ? "before " : "after ") + std::string(point.name));
}

}  // namespace agenttask

namespace agenttask::agent {
namespace {

class RunnerTest : public RunnerFixture {};

TEST_F(RunnerTest, EchoGivesBackTheSameValue) {
  run();
  const std::string data = R"({"big":9007199254740993,"list":[1.5,null,{"a":"☃"}],"message":"hello"})";
  TaskSpec what = spec("echo");
  what.data = data;
  const Task task = ended(create(what));
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ(R"({"data":)" + data + R"(,"success":true})", task.state.result);
}

TEST_F(RunnerTest, EachTaskRunsOnceWithItsData) {
  std::atomic<int> sum = 0;
  auto& worker = add_worker("count", [&](RunContext&, const TaskSpec& task) {
    sum += static_cast<int>((*parse_json(task.data))["n"].get<int>());
    return WorkResult{};
  });
  run();
  std::vector<std::string> ids;
  for (int i = 1; i <= 50; ++i) ids.push_back(create(spec("count", {{"n", i}})));
  for (const auto& id : ids) EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(50, worker.starts);
  EXPECT_EQ(50 * 51 / 2, sum);
}

TEST_F(RunnerTest, TheStartIsOnDiskBeforeTheWorkBegins) {
  TaskStatus seen = TaskStatus::pending;
  add_worker("look", [&](RunContext&, const TaskSpec& task) {
    seen = get(task.id).state.status;
    happened().add("work");
    return WorkResult{};
  });
  const auto id = create(spec("look"));
  happened().begin();
  run();
  ended(id);
  runner_->stop();
  happened().end();
  std::vector<std::string> points;
  std::copy_if(happened().events.begin(), happened().events.end(), std::back_inserter(points),
               [](const auto& event) { return event == "work" || event.find("run-") != std::string::npos; });
  EXPECT_EQ(TaskStatus::running, seen);
  EXPECT_EQ((std::vector<std::string>{"before run-started", "after run-started", "work", "before run-ended",
                                      "after run-ended"}),
            points);
  EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
}

TEST_F(RunnerTest, NothingStartsWithoutRoomForTheRecordOfItsProcesses) {
  const auto id = create(spec("command", {{"cmd", "true"}}));
  const auto record = options_.spool_folder / (id + ".processes");
  std::filesystem::create_directories(record / "in the way");
  run();
  ASSERT_TRUE(eventually([&] { return runner_->explain(id)->reason == reason::kLedgerUnwritable; }));
  EXPECT_EQ(0, get(id).state.run_count);
  std::filesystem::remove_all(record);
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(1, get(id).state.run_count);
}

TEST_F(RunnerTest, OneThatHangsDelaysNobodyWhileASlotIsFree) {
  Gate gate;
  add_worker("hang", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  run();
  const auto hanging = create(spec("hang"));
  running(hanging);
  EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
  EXPECT_EQ(TaskStatus::running, get(hanging).state.status);
  gate.open();
  EXPECT_EQ(TaskStatus::complete, ended(hanging).state.status);
}

TEST_F(RunnerTest, SlotsBoundWhatRunsAndExplainSaysSo) {
  Gate gate;
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  add_worker("slow", [&](RunContext& context, const TaskSpec&) {
    most = std::max<int>(most, ++now);
    gate.wait(context.stop());
    --now;
    return WorkResult{};
  });
  options_.slots = 2;
  run();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(create(spec("slow")));
  running(ids[1]);
  EXPECT_EQ(reason::kNoSlot, runner_->explain(ids[4])->reason);
  EXPECT_TRUE(eventually([&] { return get(ids[4]).state.reason == reason::kNoSlot; }));
  EXPECT_EQ(2U, runner_->status().running.size());
  EXPECT_EQ("", runner_->explain(ids[0])->reason);
  gate.open();
  for (const auto& id : ids) EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(2, most);
}

TEST_F(RunnerTest, WhatIsKnownOfARunIsBesideItsData) {
  add_worker("own", [](RunContext&, const TaskSpec&) {
    WorkResult done;
    done.data = R"({"stdoutBytes":"mine"})";
    done.output = R"({"stdoutBytes":7})";
    return done;
  });
  run();
  const auto value = result(ended(create(spec("own"))));
  EXPECT_EQ(R"({"stdoutBytes":"mine"})", encode_json(value["data"]));
  EXPECT_EQ(R"({"stdoutBytes":7})", encode_json(value["output"]));
  EXPECT_FALSE(result(ended(create(spec("echo")))).contains("output"));
}

TEST_F(RunnerTest, AWorkerThatThrowsFailsItsOwnRun) {
  add_worker("throw",
             [](RunContext&, const TaskSpec&) -> WorkResult { throw std::runtime_error("no luck"); });
  add_worker("throw-seven", [](RunContext&, const TaskSpec&) -> WorkResult { throw 7; });
  add_worker("nonsense", [](RunContext&, const TaskSpec&) {
    WorkResult result;
    result.data = "{";
    return result;
  });
  add_worker("large", [](RunContext&, const TaskSpec&) {
    WorkResult result;
    result.data = '"' + std::string(limits::kDataBytes, 'x') + '"';
    return result;
  });
  add_worker("wordy", [](RunContext&, const TaskSpec&) -> WorkResult {
    throw std::runtime_error(std::string(1'000'000, 'x') + "\xff");
  });
  run();
  for (const char* type : {"throw", "throw-seven", "nonsense", "large", "wordy"}) {
    const Task task = ended(create(spec(type)));
    EXPECT_EQ(TaskStatus::failed, task.state.status);
    EXPECT_EQ(reason::kWorkerError, task.state.reason);
    EXPECT_EQ("worker-error", result(task)["error"]["code"].get<std::string>());
  }
  EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
}

TEST_F(RunnerTest, AFailingTaskIsRetriedWithEveryErrorKept) {
  ledger_options_.fraction = [] { return 0.5; };  // the jitter's middle
  test::ManualClock& clock = use_manual_clock();
  const auto& worker =
      add_worker("throw", [](RunContext&, const TaskSpec&) -> WorkResult { throw std::runtime_error("no"); });
  run();
  TaskSpec what = spec("throw");
  what.options.retry = RetryPolicy{3, 20'000, 100'000};
  const std::string id = create(what);
  for (const int run : {1, 2}) {
    ASSERT_TRUE(eventually([&] {
      const TaskState state = get(id).state;
      return state.reason == reason::kRetryBackoff && state.run_count == run;
    }));
    clock.advance(seconds(20 * run) - milliseconds(1));  // twice as long each time
    runner_->wake();
    EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
    EXPECT_EQ(run, worker.starts);
    clock.advance(milliseconds(1));
    runner_->wake();
  }
  EXPECT_EQ(TaskStatus::failed, ended(id).state.status);
  EXPECT_EQ(3, worker.starts);
  const auto runs = *ledger_->runs(id);
  ASSERT_EQ(3U, runs.size());
  for (const auto& run : runs) EXPECT_EQ(reason::kWorkerError, run.reason);
}

TEST_F(RunnerTest, TheTimeoutIsOneRunsAndByTheMonotonicClock) {
  test::ManualClock& clock = use_manual_clock();
  StopCause cause = StopCause::none;
  const auto& worker = add_worker("hang", [&](RunContext& context, const TaskSpec&) {
    Gate().wait(context.stop());
    cause = context.stop_cause();
    WorkResult result;
    result.status = RunStatus::failed;
    return result;
  });
  run();
  TaskSpec what = spec("hang");
  what.options.timeout = 2000;
  const std::string id = create(what);
  ASSERT_TRUE(eventually([&] { return worker.starts == 1; }));
  clock.set_wall(clock.wall() + 10 * 366 * limits::kDay);
  clock.advance(milliseconds(1900));
  runner_->wake();
  EXPECT_FALSE(eventually([&] { return has_ended(get(id).state.status); }, milliseconds(100)));
  clock.advance(milliseconds(100));
  runner_->wake();
  EXPECT_EQ(reason::kTimeout, ended(id).state.reason);
  EXPECT_EQ(StopCause::timeout, cause);
}

TEST_F(RunnerTest, ADeferredTaskRunsWhenItIsDue) {
  test::ManualClock& clock = use_manual_clock();
  run();
  TaskSpec what = spec("echo");
  what.schedule.scheduled_for = clock.wall() + 24 * 3'600'000;
  const std::string id = create(what);
  const auto explanation = *runner_->explain(id);
  EXPECT_EQ(reason::kNotDue, explanation.reason);
  EXPECT_NE(std::string::npos, explanation.detail.find("2027-01-16 08:00:00 UTC")) << explanation.detail;
  clock.advance(milliseconds(24 * 3'600'000 - 1));
  runner_->wake();
  EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
  EXPECT_EQ(TaskStatus::sent, get(id).state.status);
  clock.advance(milliseconds(1));
  runner_->wake();
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
}

TEST_F(RunnerTest, TheLoopWakesByItselfWhenSomethingIsDue) {
  run();
  TaskSpec what = spec("echo");
  what.schedule.scheduled_for = clock_->wall() + 150;
  const Task task = ended(create(what));
  EXPECT_GE(*task.state.start_time, *what.schedule.scheduled_for);
  EXPECT_LT(*task.state.start_time, *what.schedule.scheduled_for + 2000);
}

TEST_F(RunnerTest, ValidateFalseIsAskedAgainAndThrowingIsNoBetter) {
  test::ManualClock& clock = use_manual_clock();
  std::atomic<int> asked = 0;
  auto& worker = add_worker("picky", [](RunContext&, const TaskSpec&) { return WorkResult{}; });
  worker.check = [&](const TaskSpec&) -> Result<bool> {
    if (++asked == 2) throw std::runtime_error("can't tell");
    return asked > 3;
  };
  run();
  const std::string id = create(spec("picky"));
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(eventually([&] { return asked == i && get(id).state.next_run_at; }));
    EXPECT_EQ(reason::kValidateFalse, get(id).state.reason);
    EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
    clock.advance(milliseconds(*get(id).state.next_run_at - clock.wall()));
    runner_->wake();
  }
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(1, worker.starts);
  EXPECT_EQ(4, asked);
}

TEST_F(RunnerTest, AWallClockThatJumpsNeitherStrandsNorHurriesARetry) {
  test::ManualClock& clock = use_manual_clock();
  const auto& worker =
      add_worker("throw", [](RunContext&, const TaskSpec&) -> WorkResult { throw std::runtime_error("no"); });
  run();
  TaskSpec what = spec("throw");
  what.options.retry = RetryPolicy{3, 10'000, 10'000};
  const std::string id = create(what);
  int runs = 0;
  for (const DurationMilliseconds jump : {-limits::kDay, 366 * limits::kDay}) {
    ++runs;
    ASSERT_TRUE(eventually(
        [&] { return get(id).state.reason == reason::kRetryBackoff && get(id).state.run_count == runs; }));
    clock.set_wall(clock.wall() + jump);
    runner_->wake();
    EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
    EXPECT_EQ(runs, worker.starts);
    EXPECT_EQ(reason::kRetryBackoff, runner_->explain(id)->reason);
    clock.advance(seconds(13));  // the jitter adds up to a quarter
    runner_->wake();
  }
  EXPECT_EQ(TaskStatus::failed, ended(id).state.status);
  EXPECT_EQ(3, worker.starts);
}

TEST_F(RunnerTest, WhatCanNeverRunIsInvalid) {
  run();
  const Task bad = ended(create(spec("command", {{"cmd", "true"}, {"env", {{"LD_PRELOAD", "/tmp/x.so"}}}})));
  EXPECT_EQ(TaskStatus::failed, bad.state.status);
  EXPECT_EQ(reason::kInvalid, bad.state.reason);
  EXPECT_EQ(0, bad.state.run_count);
}

TEST_F(RunnerTest, WhatAWorkerCantDoWithoutIsWaitedForAsTheWorkerItself) {
  std::atomic<bool> there = false;
  auto& worker = add_worker("needy", [](RunContext&, const TaskSpec&) { return WorkResult{}; });
  worker.missing = [&] { return there ? "" : "the other half is missing"; };
  run();
  const std::string id = create(spec("needy"));
  ASSERT_TRUE(eventually([&] { return get(id).state.reason == reason::kNoWorker; }));
  EXPECT_EQ("the other half is missing", get(id).state.detail);
  EXPECT_EQ("the other half is missing", runner_->explain(id)->detail);
  EXPECT_EQ(reason::kNoWorker, runner_->explain(id)->reason);
  EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status) << "and holds up nobody";
  EXPECT_EQ(0, get(id).state.run_count);
  there = true;
  const std::vector<std::string> types{"needy"};
  ASSERT_TRUE(ledger_->workers_changed(types));
  runner_->wake();
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(1, worker.starts);
}

TEST_F(RunnerTest, WhatComesWhileATaskIsSetAsideForItIsNotMissed) {
  std::atomic<int> asked = 0;
  auto& worker = add_worker("needy", [](RunContext&, const TaskSpec&) { return WorkResult{}; });
  worker.missing = [&] { return asked++ == 0 ? "not yet" : ""; };
  run();
  EXPECT_EQ(TaskStatus::complete, ended(create(spec("needy"))).state.status);
}

TEST_F(RunnerTest, NoWorkerWaitsWithoutAnAttempt) {
  run();
  const std::string id = create(spec("custom"));
  EXPECT_TRUE(eventually([&] { return get(id).state.reason == reason::kNoWorker; }));
  EXPECT_EQ(reason::kNoWorker, runner_->explain(id)->reason);
  EXPECT_EQ(0, get(id).state.run_count);
  runner_->stop();
  runner_.reset();
  open_ledger();
  auto& worker = add_worker("custom", [](RunContext&, const TaskSpec&) { return WorkResult{}; });
  run();
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(1, worker.starts);
}

TEST_F(RunnerTest, OneKeyOneRun) {
  std::atomic<int> now = 0;
  std::atomic<bool> together = false;
  add_worker("alone", [&](RunContext&, const TaskSpec&) {
    if (++now > 1) together = true;
    std::this_thread::yield();
    --now;
    return WorkResult{};
  });
  run();
  std::vector<std::string> ids;
  TaskSpec what = spec("alone");
  what.options.concurrency_key = "k";
  for (int i = 0; i < 20; ++i) ids.push_back(create(what));
  for (const auto& id : ids) EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_FALSE(together);
}

TEST_F(RunnerTest, ExplainNamesTheHolderOfAKey) {
  Gate gate;
  add_worker("alone", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  run();
  TaskSpec what = spec("alone");
  what.options.concurrency_key = "k";
  const std::string first = create(what);
  running(first);
  const std::string second = create(what);
  const auto explanation = *runner_->explain(second);
  EXPECT_EQ(reason::kKeyHeld, explanation.reason);
  EXPECT_NE(std::string::npos, explanation.detail.find(first));
  gate.open();
  ended(second);
}

TEST_F(RunnerTest, HoldStartsNothingAndReleaseGoesOn) {
  run();
  ASSERT_TRUE(ledger_->set_hold(true));
  const std::string id = create(spec("echo"));
  EXPECT_EQ(reason::kHeld, runner_->explain(id)->reason);
  EXPECT_TRUE(eventually([&] { return get(id).state.reason == reason::kHeld; }));
  ASSERT_TRUE(ledger_->set_hold(false));
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
}

TEST_F(RunnerTest, ThePolicyRefusesLocalTasksToo) {
  const auto file = folder_.path() / "policy.json";
  std::ofstream(file) << R"({"types":["echo"]})";
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  Policy policy(file);
  runner_ = std::make_unique<Runner>(*ledger_, workers_, policy, supervisor_, *clock_, log_, options_);
  ASSERT_TRUE(runner_->start());
  const Task refused = ended(create(shell("true")));
  EXPECT_EQ(TaskStatus::failed, refused.state.status);
  EXPECT_EQ(reason::kRejected, refused.state.reason);
  EXPECT_NE(std::string::npos, refused.state.detail.find("types")) << refused.state.detail;
  EXPECT_EQ(TaskStatus::complete, ended(create(spec("echo"))).state.status);
  runner_->stop();
  runner_.reset();
}

TEST_F(RunnerTest, APolicyFileThatCanNotBeUsedEndsNothing) {
  const auto file = folder_.path() / "policy.json";
  const auto write = [&](const char* text) {
    std::filesystem::remove(file);
    std::ofstream(file) << text;
    std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  };
  write(R"({"types":["echo",})");
  Policy policy(file);
  runner_ = std::make_unique<Runner>(*ledger_, workers_, policy, supervisor_, *clock_, log_, options_);
  ASSERT_TRUE(runner_->start());
  const std::string id = create(spec("echo"));
  EXPECT_TRUE(eventually([&] { return get(id).state.reason == reason::kValidateFalse; }));
  EXPECT_NE(std::string::npos, get(id).state.detail.find("policy.json can't be used"))
      << get(id).state.detail;
  write(R"({"types":["echo"]})");
  ASSERT_TRUE(policy.reload());
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  runner_->stop();
  runner_.reset();
}

TEST_F(RunnerTest, AFullLedgerStartsNothingSaysSoAndLosesNothing) {
  const auto big = [](RunContext& context, const TaskSpec&) {
    context.output(OutputStream::standard_output, std::string(200'000, 'x'));
    return WorkResult{};
  };
  add_worker("big", big);
  options_.slots = 1;
  const std::string first = create(spec("big"));
  const std::string second = create(spec("big"));
  ledger_options_.max_page_count = ledger_->status()->file_bytes / 4096 + 8;
  open_ledger();
  run();
  ASSERT_TRUE(eventually([&] { return !runner_->status().ledger_problem.empty(); }));
  EXPECT_NE(std::string::npos, runner_->status().ledger_problem.find("full"));
  EXPECT_EQ(reason::kLedgerUnwritable, runner_->explain(second)->reason);
  EXPECT_EQ(TaskStatus::running, get(first).state.status)
      << "nobody says that it ended before that is on disk";
  runner_->stop();
  runner_.reset();
  ledger_options_.max_page_count = 100'000;
  open_ledger();
  run();
  EXPECT_EQ(TaskStatus::complete, get(first).state.status) << "rather its end alone than none";
  EXPECT_EQ(200'000, result(get(first))["data"]["outputDropped"].get<int>());
  EXPECT_TRUE(out(first).empty());
  EXPECT_EQ(TaskStatus::complete, ended(second).state.status);
}

TEST_F(RunnerTest, AnEndThatTheReserveCannotHoldWithItsOutputIsRecordedWithoutIt) {
  add_worker("big", [](RunContext& context, const TaskSpec&) {
    context.output(OutputStream::standard_output, std::string(800'000, 'x'));
    context.output(OutputStream::standard_error, "e");
    return WorkResult{};
  });
  const std::string id = create(spec("big"));
  ledger_options_.max_page_count = ledger_->status()->file_bytes / 4096 + 20;
  open_ledger();
  options_.reserve_file = folder_.path() / "reserve";
  options_.reserve_bytes = 64 * 1024;
  run();
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ(800'001, result(task)["data"]["outputDropped"].get<int>());
  EXPECT_TRUE(result(task)["data"]["truncated"].get<bool>());
  EXPECT_TRUE(ledger_->kept_output(id, 1)->empty());
}

/// Where files can't grow or change as long as this lives: each write to one fails.
class NoWrites {
 public:
  NoWrites() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(0, ::getrlimit(RLIMIT_FSIZE, &before_));
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &none));
  }
  ~NoWrites() {
    EXPECT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &before_));
    (void)std::signal(SIGXFSZ, handler_);
  }
  NoWrites(const NoWrites&) = delete;
  NoWrites& operator=(const NoWrites&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST_F(RunnerTest, AnEndIsTriedForSomeSecondsAfterAShutdown) {
  Gate written;
  Gate gate;
  add_worker("held", [&](RunContext& context, const TaskSpec&) {
    context.output(OutputStream::standard_output, "kept");
    written.open();
    (void)gate.wait();
    return WorkResult{};
  });
  run();
  const std::string id = create(spec("held"));
  ASSERT_TRUE(written.wait());
  std::jthread stop;
  {
    const NoWrites full;
    gate.open();
    ASSERT_TRUE(eventually([&] { return !runner_->status().ledger_problem.empty(); }));
    stop = std::jthread([&] { runner_->stop(); });
    // Time passes because that is what it is about: a disk that comes back a moment later.
    std::this_thread::sleep_for(milliseconds(1200));
  }
  stop.join();
  EXPECT_EQ(TaskStatus::complete, get(id).state.status) << get(id).state.reason;
  EXPECT_EQ("kept", out(id));
}

TEST_F(RunnerTest, ShutdownInterruptsWhatRunsAndKeepsItsOutput) {
  run();
  const std::string id = create(shell("echo so far; sleep 60"));
  auto follower = *runner_->follow(id);
  while (follower->next(seconds(10), {})->chunks.empty()) {
  }
  runner_->stop();
  const Task task = get(id);
  EXPECT_EQ(TaskStatus::failed, task.state.status);
  EXPECT_EQ(reason::kInterrupted, task.state.reason);
  EXPECT_EQ("so far\n", out(id));
}

TEST_F(RunnerTest, DrainLetsRunsEndFirst) {
  options_.drain = seconds(20);
  run();
  const std::string id = create(shell("sleep 0.3; echo done"));
  running(id);
  runner_->stop();
  EXPECT_EQ(TaskStatus::complete, get(id).state.status);
  EXPECT_EQ("done\n", out(id));
}

TEST_F(RunnerTest, MoreSlotsCountAtOnce) {
  Gate gate;
  add_worker("slow", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  options_.slots = 1;
  run();
  const std::string first = create(spec("slow"));
  running(first);
  const std::string second = create(spec("slow"));
  runner_->set_slots(2);
  running(second);
  gate.open();
  ended(second);
}

}  // namespace
}  // namespace agenttask::agent
