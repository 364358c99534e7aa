#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "platform/protocol/message.hpp"
#include "tests/component/agent_runner/runner_fixture.hpp"

namespace agenttask::agent {
namespace {

constexpr const char* kTask = "11111111-1111-4111-8111-111111111111";
constexpr const char* kOther = "22222222-2222-4222-8222-222222222222";

/// Tasks that a server sends, as one answer to a poll.
class Arrivals : public RunnerFixture {
 protected:
  void meet_server() {
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = 1;
    answer.resync = true;
    ASSERT_TRUE(ledger_->adopt_node("node-1"));
    ASSERT_TRUE(ledger_->receive(answer));
  }
  static TaskDirective task(const std::string& id, TaskSpec spec) {
    TaskDirective directive;
    directive.spec = std::move(spec);
    directive.spec.id = id;
    directive.spec.node_id = "node-1";
    directive.add_time = 1;
    return directive;
  }
  template <class... Bodies>
  Result<Received> arrive(Bodies... bodies) {
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = 1;
    answer.after = at_;
    Cursor at = at_;
    const auto add = [&](auto body) {
      answer.lines.push_back(encode(Directive{at.sequence + 1, std::move(body)}));
      at = agenttask::advance(at, answer.lines.back());
    };
    (add(std::move(bodies)), ...);
    auto received = ledger_->receive(answer);
    if (received) at_ = at;
    return received;
  }
  /// What was committed; a look for what is old may come at any time.
  static std::vector<std::string> points() {
    auto events = happened().events;
    std::erase_if(events, [](const auto& event) { return event.find("purged") != std::string::npos; });
    return events;
  }
  Cursor at_;
};

TEST_F(Arrivals, OneIsStartedInTheCommitThatStoresIt) {
  run();
  meet_server();
  happened().begin();
  ASSERT_TRUE(arrive(task(kTask, shell("true"))));
  EXPECT_EQ(TaskStatus::complete, ended(kTask).state.status);
  runner_->stop();
  happened().end();
  EXPECT_EQ((std::vector<std::string>{"before directives-received", "before run-started",
                                      "after directives-received", "after run-started", "before run-ended",
                                      "after run-ended"}),
            points());
  EXPECT_EQ(1, get(kTask).state.run_count);
}

TEST_F(Arrivals, OneThatOnlyComputesIsOverInTheCommitThatStoresIt) {
  run();
  meet_server();
  happened().begin();
  ASSERT_TRUE(arrive(task(kTask, spec("echo", {{"message", "hello"}}))));
  happened().end();
  EXPECT_EQ((std::vector<std::string>{"before directives-received", "before run-started", "before run-ended",
                                      "after directives-received", "after run-started", "after run-ended"}),
            points());
  const Task task = get(kTask);
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ(R"({"data":{"message":"hello"},"success":true})", task.state.result);
  EXPECT_EQ(1, task.state.run_count);
  EXPECT_TRUE(runner_->status().running.empty());
}

TEST_F(Arrivals, OneThatOnlyComputesNeedsNoSlot) {
  options_.slots = 1;
  Gate gate;
  add_worker("hang", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  run();
  meet_server();
  const auto hanging = create(spec("hang"));
  running(hanging);
  ASSERT_TRUE(arrive(task(kTask, spec("echo"))));
  EXPECT_EQ(TaskStatus::complete, get(kTask).state.status);
  gate.open();
  EXPECT_EQ(TaskStatus::complete, ended(hanging).state.status);
}

TEST_F(Arrivals, ACommandHasItsOutputAndLeavesNoFile) {
  run();
  meet_server();
  ASSERT_TRUE(arrive(task(kTask, shell("echo hello"))));
  EXPECT_EQ(TaskStatus::complete, ended(kTask).state.status);
  EXPECT_EQ("hello\n", out(kTask));
  runner_->stop();
  EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
}

TEST_F(Arrivals, WhatTheSameAnswerCancelsIsNotStarted) {
  run();
  meet_server();
  ASSERT_TRUE(arrive(task(kTask, shell("echo hello")), CancelDirective{kTask}));
  EXPECT_EQ(TaskStatus::cancelled, get(kTask).state.status);
  EXPECT_EQ(0, get(kTask).state.run_count);
  ASSERT_TRUE(arrive(SettingsDirective{.hold = true}, task(kOther, spec("echo"))));
  EXPECT_EQ(0, get(kOther).state.run_count);
}

TEST_F(Arrivals, MoreThanThereAreSlotsWaitAndNoneHasMoreThanItsSlot) {
  options_.slots = 1;
  Gate gate;
  auto& worker = add_worker("hang", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  run();
  meet_server();
  const auto hanging = create(spec("hang"));
  running(hanging);
  ASSERT_TRUE(arrive(task(kTask, shell("echo one")), task(kOther, shell("echo two"))));
  EXPECT_EQ(0, get(kTask).state.run_count);
  EXPECT_EQ(0, get(kOther).state.run_count);
  gate.open();
  EXPECT_EQ(TaskStatus::complete, ended(kTask).state.status);
  EXPECT_EQ(TaskStatus::complete, ended(kOther).state.status);
  EXPECT_EQ(1, worker.starts);
  EXPECT_EQ(1, get(kTask).state.run_count);
  EXPECT_EQ(1, get(kOther).state.run_count);
}

TEST_F(Arrivals, OneWhoseKeyIsTakenWaitsForIt) {
  run();
  meet_server();
  auto first = shell("sleep 0.2");
  auto second = shell("echo two");
  first.options.concurrency_key = second.options.concurrency_key = "key";
  ASSERT_TRUE(arrive(task(kTask, first), task(kOther, second)));
  EXPECT_EQ(TaskStatus::complete, ended(kTask).state.status);
  EXPECT_EQ(TaskStatus::complete, ended(kOther).state.status);
  EXPECT_GE(get(kOther).state.start_time.value_or(0), get(kTask).state.end_time.value_or(0));
}

TEST_F(Arrivals, WhatThePolicyRefusesIsRefusedAndNotStarted) {
  const auto file = folder_.path() / "policy.json";
  std::ofstream(file) << R"({"types":["echo"]})";
  std::filesystem::permissions(file,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  Policy policy(file);
  runner_ = std::make_unique<Runner>(*ledger_, workers_, policy, supervisor_, *clock_, log_, options_);
  ASSERT_TRUE(runner_->recover());
  ASSERT_TRUE(runner_->start());
  meet_server();
  ASSERT_TRUE(arrive(task(kTask, shell("echo hello"))));
  const Task refused = ended(kTask);
  EXPECT_EQ(reason::kRejected, refused.state.reason);
  EXPECT_EQ(0, refused.state.run_count);
  runner_.reset();
}

TEST_F(Arrivals, WhatCouldNotBeStoredGivesAllBack) {
  ledger_options_.max_page_count = ledger_->status()->file_bytes / 4096 + 6;
  open_ledger();
  options_.slots = 1;
  run();
  meet_server();
  auto big = shell("echo hello");
  big.data = encode_json({{"cmd", "echo hello " + std::string(400'000, 'x')}});
  EXPECT_FALSE(arrive(task(kTask, big)));
  EXPECT_FALSE(ledger_->get(kTask));
  EXPECT_TRUE(eventually([&] { return runner_->status().running.empty(); })) << "its slot is free again";
  EXPECT_TRUE(eventually([&] { return std::filesystem::is_empty(options_.spool_folder); }));
  ASSERT_TRUE(arrive(task(kTask, spec("echo"))));
  EXPECT_EQ(TaskStatus::complete, ended(kTask).state.status);
}

}  // namespace
}  // namespace agenttask::agent
