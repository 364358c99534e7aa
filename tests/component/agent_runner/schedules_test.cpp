#include <map>
#include <set>

#include "tests/component/agent_runner/runner_fixture.hpp"
#include "tests/support/posix/emulator.hpp"

// Schedules with a real runner: acceptance C1, D2, D5.
namespace agenttask::agent {
namespace {

class RunnerSchedules : public RunnerFixture {
 protected:
  static TaskSpec every(std::string type, DurationMilliseconds interval, Overlap overlap = Overlap::skip) {
    TaskSpec what = spec(std::move(type));
    what.schedule = {std::nullopt, interval, 0, overlap, CatchUp::once};
    return what;
  }
  /// Many tasks in one transaction, as a worker makes them.
  void create_many(const std::vector<TaskSpec>& specs) {
    const std::string maker = create(spec("maker"));
    const auto run = ledger_->start(maker);
    ASSERT_TRUE(run && run->run);
    RunOutcome outcome;
    outcome.result = R"({"success":true,"data":{}})";
    for (const auto& one : specs) outcome.wishes.emplace_back(CreateWish{one});
    ASSERT_TRUE(ledger_->end(maker, 1, outcome));
  }
};

TEST_F(RunnerSchedules, TenThousandDueTasksRunOnceEachWhileTheLedgerAnswers) {
  // Where each access costs many times as much, more tasks show nothing new.
#ifdef __SANITIZE_THREAD__
  constexpr bool kSlow = true;
#else
  constexpr bool kSlow = false;
#endif
  const int tasks = kSlow || test::is_emulated() ? 1'000 : 10'000;
  auto& clock = use_manual_clock();
  std::mutex mutex;
  std::map<std::string, int> starts;
  add_worker("count", [&](RunContext&, const TaskSpec& task) {
    const std::scoped_lock lock(mutex);
    ++starts[task.id];
    return WorkResult{};
  });
  std::vector<TaskSpec> specs;
  for (int i = 0; i < tasks; ++i) {
    TaskSpec what = spec("count");
    what.id = make_uuid(clock.wall());
    what.schedule.scheduled_for = clock.wall() + 3'600'000;
    specs.push_back(std::move(what));
  }
  create_many(specs);
  options_.slots = 16;
  run();
  EXPECT_TRUE(starts.empty());
  clock.advance(std::chrono::hours(1));
  runner_->wake();
  // Meanwhile people look, create and cancel.
  std::size_t asked = 0;
  EXPECT_TRUE(eventually(
      [&] {
        EXPECT_TRUE(ledger_->list({}, std::nullopt, 100));
        EXPECT_TRUE(ledger_->cancel(create(every("never", 1000))));
        ++asked;
        return ledger_->status()->tasks[TaskStatus::complete] == tasks + 1;
      },
      std::chrono::minutes(5)));
  EXPECT_GT(asked, 10U);
  runner_->stop();  // before what its worker writes to goes
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(starts.size(), static_cast<std::size_t>(tasks));
  for (const auto& [id, count] : starts) ASSERT_EQ(count, 1) << id;
}

TEST_F(RunnerSchedules, AWorkerThatHangsHoldsUpNoNeighbour) {  // D5
  Gate gate;
  auto& hangs = add_worker("hangs", [&](RunContext& context, const TaskSpec&) {
    gate.wait(context.stop());
    return WorkResult{};
  });
  auto& neighbour = add_worker("neighbour", [](RunContext&, const TaskSpec&) { return WorkResult{}; });
  run();
  const std::string stuck = create(every("hangs", 1000));
  const std::string other = create(every("neighbour", 1000));
  ASSERT_TRUE(eventually([&] { return get(other).state.run_count == 3; }));
  EXPECT_EQ(hangs.starts, 1);
  EXPECT_TRUE(eventually([&] { return neighbour.starts >= 3; }));
  // Deleted while it runs: asked to stop, not scheduled again, its end is in the history.
  ASSERT_TRUE(ledger_->remove(stuck));
  ASSERT_TRUE(eventually([&] { return has_ended(get(stuck).state.status); }));
  EXPECT_EQ(ledger_->runs(stuck)->size(), 1U);
  EXPECT_EQ(hangs.starts, 1);
}

TEST_F(RunnerSchedules, TheNextOccurrenceReplacesTheOneThatRuns) {  // D2
  std::atomic<int> at_once = 0;
  std::atomic<int> most = 0;
  std::mutex mutex;
  std::vector<StopCause> causes;
  auto& worker = add_worker("slow", [&](RunContext& context, const TaskSpec&) {
    most = std::max(most.load(), ++at_once);
    Gate never;
    never.wait(context.stop());
    --at_once;
    const std::scoped_lock lock(mutex);
    causes.push_back(context.stop_cause());
    WorkResult result;
    result.status = RunStatus::cancelled;
    return result;
  });
  run();
  const std::string task = create(every("slow", 1000, Overlap::cancel_previous));
  ASSERT_TRUE(eventually([&] { return get(task).state.run_count == 3; }));
  ASSERT_TRUE(ledger_->cancel(task));
  EXPECT_EQ(ended(task).state.status, TaskStatus::cancelled);
  EXPECT_EQ(most, 1);
  EXPECT_EQ(worker.starts, 3);
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(causes, (std::vector{StopCause::replaced, StopCause::replaced, StopCause::cancel}));
  EXPECT_EQ(get(task).state.missed_count, 0);
}

}  // namespace
}  // namespace agenttask::agent
