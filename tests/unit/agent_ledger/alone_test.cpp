#include <algorithm>

#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// A device that left its server, and what a snapshot holds when it comes back to one.
namespace agenttask::agent {
namespace {

using namespace std::chrono_literals;

class LedgerAlone : public LedgerFixture {
 protected:
  std::string run_local(std::size_t output = 0) {
    const std::string task = create();
    end(task, start(task).number, success(),
        chunks({{OutputStream::standard_output, 0, std::string(output, 'x')}}));
    return task;
  }
};

TEST_F(LedgerAlone, FillsNoOutboxAndForgetsInTime) {
  options_.outbox_budget = 1'000'000;
  reopen();
  meet_server();
  const std::string first = run_local();
  ASSERT_FALSE(reports().empty());
  ASSERT_TRUE(ledger_->leave_server());
  EXPECT_TRUE(reports().empty());
  for (int i = 0; i < 30; ++i) run_local(50'000);
  EXPECT_EQ(ledger_->status()->outbox_bytes, 0);
  reopen();
  ASSERT_TRUE(ledger_->leave_server()) << "as each start of an agent does that belongs to no server";
  EXPECT_FALSE(ledger_->kept_output(run_local(50'000), 1)->empty());
  for (int day = 0; day < 100; ++day) {
    clock_.advance(24h);
    ASSERT_TRUE(ledger_->purge(1000));
  }
  EXPECT_FALSE(ledger_->get(first));
}

TEST_F(LedgerAlone, TellsEverythingWhenItBelongsToAServerAgain) {
  meet_server();
  const std::string before = run_local();
  ASSERT_TRUE(ledger_->leave_server());
  const std::string meanwhile = run_local();
  for (const auto* node : {"node-1", "node-2"}) {
    meet(node, epoch_ + 1);
    std::vector<std::string> told;
    for (const auto& created : reports_of<CreatedReport>()) told.push_back(created.task.spec.id);
    EXPECT_EQ(told, (std::vector{before, meanwhile})) << node;
    // What waits for a server that asked for it is kept until that has it.
    ASSERT_TRUE(ledger_->purge(1000));
    clock_.advance(24h * 365);
    ASSERT_TRUE(ledger_->purge(1000));
    EXPECT_TRUE(ledger_->get(before));
  }
}

TEST_F(LedgerAlone, ASnapshotLeavesOutTheOldestOutputAndSaysSo) {
  options_.outbox_budget = 1'000'000;
  reopen();
  meet_server();
  std::vector<std::string> tasks;
  for (int i = 0; i < 12; ++i) {
    tasks.push_back(run_local(100'000));
    acknowledge_all();
    clock_.advance(1s);
  }
  meet_server(2);
  std::vector<std::string> whole;
  for (const auto& output : reports_of<OutputReport>()) whole.push_back(output.task_id);
  ASSERT_FALSE(whole.empty());
  ASSERT_LT(whole.size(), tasks.size());
  EXPECT_EQ(whole, std::vector(tasks.end() - static_cast<std::ptrdiff_t>(whole.size()), tasks.end()));
  for (const auto& created : reports_of<CreatedReport>()) {
    const bool is_whole = std::find(whole.begin(), whole.end(), created.task.spec.id) != whole.end();
    for (const auto& result : {created.runs.at(0).result, created.task.state.result})
      EXPECT_EQ(result.find("outputDropped") == std::string::npos, is_whole) << result;
  }
  EXPECT_LE(ledger_->status()->outbox_bytes, options_.outbox_budget);
  EXPECT_FALSE(ledger_->kept_output(tasks.front(), 1)->empty()) << "here it is still";
}

TEST_F(LedgerAlone, AKeyIsLookedAtAgainWhenARunStarts) {
  TaskSpec first = spec();
  first.options.concurrency_key = "b";
  TaskSpec second = spec();
  second.options.concurrency_key = "a";
  const std::string running = create(first);
  const std::string picked = create(second);
  const auto run = start(running);
  ASSERT_TRUE(ledger_->update(picked, R"({"options":{"concurrencyKey":"b"}})"));
  EXPECT_FALSE(ledger_->start(picked)->run);
  end(running, run.number, success());
  EXPECT_TRUE(ledger_->start(picked)->run);
}

}  // namespace
}  // namespace agenttask::agent
