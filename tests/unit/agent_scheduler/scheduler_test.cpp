#include "agent/scheduler/scheduler.hpp"

#include <gtest/gtest.h>

#include "platform/base/ids.hpp"
#include "platform/protocol/message.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest()
      : ledger_(std::move(*Ledger::open(folder_.path() / "ledger.db", clock_))),
        scheduler_(*ledger_, clock_) {
    occupancy_.free_slots = 8;
    occupancy_.has_worker = [](std::string_view type) { return type == "echo"; };
  }

  std::string create(TaskOptions options = {}, std::optional<UnixMilliseconds> at = {},
                     std::string type = "echo") {
    TaskSpec spec;
    spec.type = std::move(type);
    spec.options = std::move(options);
    spec.schedule.scheduled_for = at;
    return ledger_->create(spec)->task.spec.id;
  }
  static TaskOptions with_key(std::string key, std::int64_t priority = 0) {
    TaskOptions options;
    options.concurrency_key = std::move(key);
    options.priority = priority;
    return options;
  }
  Plan plan() {
    auto plan = scheduler_.plan(occupancy_);
    EXPECT_TRUE(plan) << plan.error().message;
    return plan ? *plan : Plan{};
  }
  std::vector<std::string> starts() {
    std::vector<std::string> ids;
    for (const auto& task : plan().start) ids.push_back(task.id);
    return ids;
  }
  /// What the runner does with a plan.
  std::vector<std::string> run_plan() {
    auto ids = starts();
    for (const auto& id : ids) EXPECT_TRUE(ledger_->start(id)->run);
    occupancy_.free_slots -= ids.size();
    return ids;
  }
  Task get(const std::string& id) { return *ledger_->get(id); }

  test::TemporaryFolder folder_;
  test::ManualClock clock_;
  std::unique_ptr<Ledger> ledger_;
  Scheduler scheduler_;
  Occupancy occupancy_;
};

TEST_F(SchedulerTest, NothingToDoMeansNothingToWakeFor) {
  EXPECT_TRUE(plan().start.empty());
  EXPECT_FALSE(plan().look_again);
}

TEST_F(SchedulerTest, AsManyAsThereAreSlotsByPriorityThenArrival) {
  occupancy_.free_slots = 2;
  const auto a = create();
  const auto b = create(with_key("", 3));
  const auto c = create();
  EXPECT_EQ((std::vector{b, a}), run_plan());
  EXPECT_TRUE(run_plan().empty());
  occupancy_.free_slots = 1;
  EXPECT_EQ(std::vector{c}, run_plan());
}

TEST_F(SchedulerTest, WhatIsInASlotAlreadyIsNotPickedAgain) {
  const auto a = create();
  const auto b = create(with_key("k"));
  const auto c = create(with_key("k"));
  occupancy_.tasks = {a, b};
  occupancy_.keys = {"k"};
  EXPECT_TRUE(starts().empty());
  EXPECT_TRUE(ledger_->cancel(c));
}

TEST_F(SchedulerTest, DueToTheMillisecondAndAtOnceWhenPast) {
  const auto due = clock_.wall() + 24 * 3600 * 1000;
  const auto later = create({}, due);
  const auto past = create({}, clock_.wall() - 1000);
  EXPECT_EQ(std::vector{past}, run_plan());
  EXPECT_EQ(due, plan().look_again);
  clock_.set_wall(due - 1);
  EXPECT_TRUE(run_plan().empty());
  clock_.set_wall(due);
  EXPECT_EQ(std::vector{later}, run_plan());
  EXPECT_FALSE(plan().look_again);
}

TEST_F(SchedulerTest, AJumpingClockCausesNoDoubleRun) {
  const auto id = create({}, clock_.wall() + 3'600'000);
  clock_.set_wall(clock_.wall() + 10LL * 365 * limits::kDay);
  EXPECT_EQ(std::vector{id}, run_plan());
  clock_.set_wall(test::ManualClock::kStart);
  EXPECT_TRUE(run_plan().empty());
  const auto other = create({}, clock_.wall() + 1000);
  clock_.set_wall(test::ManualClock::kStart - 7'200'000);
  EXPECT_TRUE(run_plan().empty());
  EXPECT_EQ(test::ManualClock::kStart + 1000, plan().look_again);
  clock_.set_wall(test::ManualClock::kStart + 1000);
  EXPECT_EQ(std::vector{other}, run_plan());
}

TEST_F(SchedulerTest, ADelayEndsByAClockThatNobodySets) {
  const auto id = create();
  ASSERT_TRUE(ledger_->defer(id, reason::kValidateFalse, "", 5000));
  clock_.set_wall(clock_.wall() - 3'600'000);
  EXPECT_TRUE(run_plan().empty());
  EXPECT_FALSE(plan().look_again);
  const auto ends = clock_.since_boot() + 5000;
  EXPECT_EQ(ends, plan().look_again_since_boot);
  clock_.advance(std::chrono::milliseconds(4999));
  EXPECT_TRUE(run_plan().empty());
  EXPECT_EQ(ends, plan().look_again_since_boot);
  clock_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(std::vector{id}, run_plan());
}

TEST_F(SchedulerTest, OneForEachKeyAndNobodyElseWaits) {
  const auto a = create(with_key("k"));
  const auto b = create(with_key("k"));
  const auto c = create(with_key("other"));
  EXPECT_EQ((std::vector{a, c}), run_plan());
  occupancy_.keys = {"k", "other"};
  EXPECT_TRUE(run_plan().empty());
  ASSERT_TRUE(ledger_->end(a, 1, {RunStatus::complete, "", "", "{}"}));
  occupancy_.keys = {"other"};
  EXPECT_EQ(std::vector{b}, run_plan());
}

TEST_F(SchedulerTest, ATaskThatIsPutOffLetsTheNextBehindItsKeyGoFirst) {
  const auto holder = create(with_key("k"));
  EXPECT_EQ(std::vector{holder}, run_plan());
  occupancy_.keys = {"k"};
  const auto next = create(with_key("k"));
  const auto last = create(with_key("k"));
  EXPECT_TRUE(run_plan().empty()) << "both are set aside behind the key";
  ASSERT_TRUE(ledger_->end(holder, 1, {RunStatus::complete, "", "", "{}"}));
  const auto later = clock_.wall() + 3'600'000;
  ASSERT_TRUE(ledger_->update(next, R"({"schedule":{"scheduledFor":)" + std::to_string(later) + "}}"));
  occupancy_.keys.clear();
  EXPECT_EQ(std::vector{last}, run_plan());
}

TEST_F(SchedulerTest, ManyTasksBehindOneKeyDelayNobody) {
  const auto holder = create(with_key("k"));
  EXPECT_EQ(std::vector{holder}, run_plan());
  occupancy_.keys = {"k"};
  for (int i = 0; i < 200; ++i) create(with_key("k", 10));
  const auto free = create();
  EXPECT_EQ(std::vector{free}, starts());
  EXPECT_EQ(1U, ledger_->ready(std::nullopt, 1000)->size())
      << "they were set aside, and are not looked at again";
}

TEST_F(SchedulerTest, NoWorkerIsSaidAndHarmsNobody) {
  const auto unknown = create(with_key("", 10), {}, "custom");
  const auto known = create();
  EXPECT_EQ(std::vector{known}, run_plan());
  EXPECT_EQ(reason::kNoWorker, get(unknown).state.reason);
  EXPECT_EQ(0, get(unknown).state.run_count);
}

TEST_F(SchedulerTest, AWorkerThatComesWhileItsTaskIsSetAsideIsNotMissed) {
  const auto id = create({}, {}, "custom");
  int asked = 0;
  occupancy_.has_worker = [&](std::string_view) { return asked++ > 0; };  // it comes after the first look
  EXPECT_TRUE(starts().empty());
  EXPECT_EQ(std::vector{id}, starts());
}

TEST_F(SchedulerTest, ExpiresExactlyThen) {
  TaskOptions options;
  options.expires_at = clock_.wall() + 5000;
  const auto id = create(options, clock_.wall() + 60'000);
  EXPECT_EQ(options.expires_at, plan().look_again);
  clock_.advance(std::chrono::milliseconds(5000));
  EXPECT_TRUE(run_plan().empty());
  EXPECT_EQ(reason::kExpired, get(id).state.reason);
  EXPECT_FALSE(plan().look_again);
}

TEST_F(SchedulerTest, HeldOrBlockedNothingStarts) {
  const auto id = create();
  ASSERT_TRUE(ledger_->set_hold(true));
  EXPECT_TRUE(starts().empty());
  clock_.advance(std::chrono::milliseconds(1000));
  (void)plan();
  EXPECT_EQ(reason::kHeld, get(id).state.reason);
  ASSERT_TRUE(ledger_->set_hold(false));
  occupancy_.blocked = reason::kOutboxFull;
  EXPECT_TRUE(starts().empty());
  EXPECT_EQ(reason::kOutboxFull, get(id).state.reason);
  occupancy_.blocked = {};
  EXPECT_EQ(std::vector{id}, starts());
}

TEST_F(SchedulerTest, WhyTheOthersWaitIsToldAfterASecond) {
  occupancy_.free_slots = 0;
  const auto id = create();
  EXPECT_EQ(clock_.since_boot() + 1000, plan().look_again_since_boot);
  EXPECT_EQ("", get(id).state.reason);
  clock_.advance(std::chrono::milliseconds(1000));
  EXPECT_FALSE(plan().look_again_since_boot);
  EXPECT_EQ(reason::kNoSlot, get(id).state.reason);
}

TEST_F(SchedulerTest, WhatTheSystemLacksIsToldAsItIs) {
  occupancy_.blocked_detail = "the system has no descriptor left";
  for (const std::string_view reason : {reason::kNoSlot, reason::kLedgerUnwritable}) {
    occupancy_.blocked = reason;
    const auto id = create();
    clock_.advance(std::chrono::milliseconds(1000));
    (void)plan();
    EXPECT_EQ(reason, get(id).state.reason);
    EXPECT_EQ("the system has no descriptor left", get(id).state.detail);
  }
  // Without anything that blocks, only the slots are short.
  occupancy_.blocked = {};
  occupancy_.blocked_detail.clear();
  occupancy_.free_slots = 0;
  const auto id = create();
  clock_.advance(std::chrono::milliseconds(1000));
  (void)plan();
  EXPECT_EQ("all slots of this device are taken by other tasks", get(id).state.detail);
}

TEST_F(SchedulerTest, WhatTheSystemLackedIsNotToldWhenItIsOver) {
  const auto id = create();
  occupancy_.blocked = reason::kNoSlot;
  occupancy_.blocked_detail = "the system has no descriptor left";
  clock_.advance(std::chrono::milliseconds(1000));
  (void)plan();
  EXPECT_EQ("the system has no descriptor left", get(id).state.detail);
  // An attempt may be made: nobody knows yet whether it is over.
  occupancy_.blocked = {};
  occupancy_.free_slots = 0;
  (void)plan();
  EXPECT_EQ("the system has no descriptor left", get(id).state.detail);
  // Something started, and took the last slot.
  occupancy_.blocked_detail.clear();
  (void)plan();
  EXPECT_EQ(reason::kNoSlot, get(id).state.reason);
  EXPECT_EQ("all slots of this device are taken by other tasks", get(id).state.detail);
  // And the other way round, for all of many, part by part.
  std::string last;
  for (int i = 0; i < 250; ++i) last = create();
  clock_.advance(std::chrono::milliseconds(1000));
  for (int i = 0; i < 3; ++i) (void)plan();
  EXPECT_EQ("all slots of this device are taken by other tasks", get(id).state.detail);
  occupancy_.blocked = reason::kNoSlot;
  occupancy_.blocked_detail = "the system has no memory left";
  EXPECT_EQ(clock_.since_boot() + 1000, plan().look_again_since_boot) << "some are left";
  (void)plan();
  EXPECT_FALSE(plan().look_again_since_boot);
  EXPECT_EQ("the system has no memory left", get(id).state.detail);
  EXPECT_EQ("the system has no memory left", get(last).state.detail);
}

TEST_F(SchedulerTest, TenThousandThatWaitCostNoMoreThanAFew) {
  PollAnswer answer;
  answer.epoch = 1;
  answer.resync = true;
  ASSERT_TRUE(ledger_->receive(answer));
  answer.resync = false;
  TaskDirective directive{{}, clock_.wall()};
  directive.spec.node_id = "node";
  directive.spec.type = "echo";
  constexpr int kTasks = 10'000;
  for (int i = 1; i <= kTasks; ++i) {
    directive.spec.id = make_uuid(clock_.wall());
    directive.spec.options.expires_at = clock_.wall() + limits::kDay;
    directive.spec.options.concurrency_key = i % 4 == 1 ? "k" : "";
    directive.spec.schedule.scheduled_for.reset();
    if (i % 2 == 0) directive.spec.schedule.scheduled_for = clock_.wall() + 3'600'000 + i;
    answer.lines.push_back(encode(Directive{i, directive}));
    if (i % 500 != 0) continue;
    const auto received = ledger_->receive(answer);
    ASSERT_EQ(500, received->applied) << received->ignored;
    answer.lines.clear();
  }
  EXPECT_EQ(8U, run_plan().size());
  clock_.advance(std::chrono::milliseconds(100));
  const auto begin = std::chrono::steady_clock::now();
  constexpr int kPlans = 50;
  for (int i = 0; i < kPlans; ++i) EXPECT_TRUE(plan().start.empty());
  const auto each = (std::chrono::steady_clock::now() - begin) / kPlans;
  RecordProperty("microseconds_for_a_plan",
                 std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(each).count()));
  // A walk over all of them takes tens of milliseconds even where nothing else runs; this bound has room for
  // a busy machine.
  EXPECT_LT(each, std::chrono::milliseconds(20));
}

TEST_F(SchedulerTest, ThousandsAreToldBitByBit) {
  occupancy_.free_slots = 0;
  for (int i = 0; i < 250; ++i) create();
  clock_.advance(std::chrono::milliseconds(1500));
  for (int pass = 0; pass < 2; ++pass) EXPECT_EQ(clock_.since_boot() + 1000, plan().look_again_since_boot);
  EXPECT_FALSE(plan().look_again_since_boot);
}

}  // namespace
}  // namespace agenttask::agent
