#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/component/agent_runner/runner_fixture.hpp"

namespace agenttask::agent {
namespace {

/// A slot goes from one run to the next in the commit that ends the first.
class Handover : public RunnerFixture {
 protected:
  Handover() { options_.slots = 1; }
  std::string marker(const std::string& name) const { return (folder_.path() / name).string(); }
  /// A command that ends once the test says so.
  std::string create_waiting(const std::string& name) {
    return create(shell("until [ -e " + marker(name) + " ]; do sleep 0.01; done"));
  }
  void release(const std::string& name) { std::ofstream(marker(name)) << "x"; }
};

TEST_F(Handover, TheNextOneStartsInTheCommitThatEndsTheOneBefore) {
  run();
  const auto first = create_waiting("go");
  running(first);
  const auto second = create(shell("echo two"));
  happened().begin();
  release("go");
  EXPECT_EQ(TaskStatus::complete, ended(second).state.status);
  runner_->stop();
  happened().end();
  std::vector<std::string> points;
  std::copy_if(happened().events.begin(), happened().events.end(), std::back_inserter(points),
               [](const auto& event) { return event.find("run-") != std::string::npos; });
  EXPECT_EQ((std::vector<std::string>{"before run-ended", "before run-started", "after run-ended",
                                      "after run-started", "before run-ended", "after run-ended"}),
            points);
  EXPECT_EQ(TaskStatus::complete, get(first).state.status);
  EXPECT_EQ("two\n", out(second));
  EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
}

TEST_F(Handover, OneSlotIsOneRunAtATime) {
  run();
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i)
    ids.push_back(create(shell("mkdir " + marker("busy") + " && sleep 0.01 && rmdir " + marker("busy"))));
  for (const auto& id : ids) {
    EXPECT_EQ(TaskStatus::complete, ended(id).state.status) << "another ran beside it";
    EXPECT_EQ(1, get(id).state.run_count);
  }
}

TEST_F(Handover, TheQueueIsKept) {
  run();
  running(create_waiting("go"));
  auto urgent = shell("echo urgent");
  urgent.options.priority = 9;
  const auto plain = create(shell("echo plain"));
  const auto first = create(urgent);
  release("go");
  EXPECT_EQ(TaskStatus::complete, ended(plain).state.status);
  EXPECT_GE(*get(plain).state.start_time, *get(first).state.end_time);
}

TEST_F(Handover, OneWhoseWorkerHasToBeAskedIsNotOvertaken) {
  Gate gate;
  add_worker("hang", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  run();
  running(create_waiting("go"));
  const auto asked = create(spec("hang"));
  const auto behind = create(shell("echo behind"));
  release("go");
  running(asked);
  EXPECT_EQ(TaskStatus::sent, get(behind).state.status);
  gate.open();
  EXPECT_EQ(TaskStatus::complete, ended(behind).state.status);
}

TEST_F(Handover, UnderAHoldNothingFollows) {
  run();
  const auto first = create_waiting("go");
  running(first);
  const auto second = create(shell("echo two"));
  ASSERT_TRUE(ledger_->set_hold(true));
  release("go");
  EXPECT_EQ(TaskStatus::complete, ended(first).state.status);
  EXPECT_EQ(0, get(second).state.run_count);
  ASSERT_TRUE(ledger_->set_hold(false));
  EXPECT_EQ(TaskStatus::complete, ended(second).state.status);
}

TEST_F(Handover, WhereTheNextCantBeMadeReadyTheSlotIsFree) {
  run();
  const auto first = create_waiting("go");
  running(first);
  const auto second = create(shell("echo two"));
  const auto record = options_.spool_folder / (second + ".processes");
  std::filesystem::create_directories(record / "in the way");
  release("go");
  EXPECT_EQ(TaskStatus::complete, ended(first).state.status);
  ASSERT_TRUE(eventually([&] { return runner_->explain(second)->reason == reason::kLedgerUnwritable; }));
  EXPECT_EQ(0, get(second).state.run_count);
  std::filesystem::remove_all(record);
  EXPECT_EQ(TaskStatus::complete, ended(second).state.status);
}

TEST_F(Handover, AnEndThatCantBeStoredWithItBeginsNothing) {
  options_.reserve_file = folder_.path() / "reserve";
  ledger_options_.max_page_count = ledger_->status()->file_bytes / 4096 + 60;
  open_ledger();
  run();
  const auto first =
      create(shell("until [ -e " + marker("go") + " ]; do sleep 0.01; done; head -c 500000 /dev/zero"));
  running(first);
  const auto second = create(shell("echo two"));
  release("go");
  const Task big = ended(first);
  EXPECT_EQ(TaskStatus::complete, big.state.status);
  EXPECT_EQ("", out(first)) << "there is no room for it";
  EXPECT_EQ(TaskStatus::complete, ended(second).state.status);
  EXPECT_EQ(1, get(second).state.run_count);
  EXPECT_EQ("two\n", out(second));
  runner_->stop();
  EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
}

TEST_F(Handover, WhatOnlyComputesIsPassedAndNeedsNoSlot) {
  run();
  const auto first = create_waiting("go");
  running(first);
  std::vector<std::string> echoes;
  for (int i = 0; i < 3; ++i) echoes.push_back(create(spec("echo")));
  const auto last = create(shell("echo last"));
  release("go");
  EXPECT_EQ(TaskStatus::complete, ended(last).state.status);
  for (const auto& id : echoes) EXPECT_EQ(TaskStatus::complete, get(id).state.status);
}

}  // namespace
}  // namespace agenttask::agent
