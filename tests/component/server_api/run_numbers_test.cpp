#include "tests/component/server_api/task_model_fixture.hpp"

// Runs of a task that runs once are few, unless it recurred before.
namespace agenttask::server::test {
namespace {

class RunNumbersApi : public TaskModelApi {};

TEST_F(RunNumbersApi, ATaskThatRanOftenAndThenRecursNoMoreStillEnds) {
  const auto id = added(every_minute());
  deliver();
  constexpr std::int64_t kRuns = 60;
  for (std::int64_t run = 1; run <= kRuns; ++run) run_once(id, run, run);
  auto once = held(id, TaskStatus::sent);
  once.spec.schedule.update_interval.reset();
  report_changed(once);
  ASSERT_FALSE(task(id)["schedule"].contains("updateInterval"));
  for (std::int64_t run = kRuns + 1; run <= 2 * kRuns; ++run) {
    auto state = held(id, TaskStatus::sent).state;
    state.run_count = run;
    report(
        device,
        {StartedReport{id, run, clock.wall()},
         EndedReport{id, agenttask::Run{id, run, RunStatus::failed, "timeout", 5, 6, R"({"success":false})"},
                     state}});
  }
  EXPECT_EQ(task(id)["runCount"], 2 * kRuns);
  run_once(id, 2 * kRuns + 1, 0, {}, TaskStatus::complete);
  EXPECT_EQ(task(id)["status"], "complete");
}

TEST_F(RunNumbersApi, AnEndCountsWhateverNumberItsRunHas) {
  const auto id = added({{"type", "echo"}});
  deliver();
  report(device, {ended(id, TaskStatus::complete, INT64_MAX)});
  EXPECT_EQ(task(id)["status"], "complete");
  EXPECT_TRUE(store->read().value()->runs(id).empty()) << "more than a task that runs once can have";
}

}  // namespace
}  // namespace agenttask::server::test
