#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// How long the ledger keeps things, whatever happens to the clocks.
namespace agenttask::agent {
namespace {

constexpr DurationMilliseconds kTenYears = 3650 * limits::kDay;

class LedgerRetention : public LedgerFixture {
 protected:
  std::int64_t purge() {
    std::int64_t tasks = 0;
    for (bool more = true; more;) {
      const auto purged = ledger_->purge(10);
      EXPECT_TRUE(purged);
      tasks += purged ? purged->tasks : 0;
      more = purged && purged->more;
    }
    return tasks;
  }
  std::string ended() {
    const std::string made = create();
    end(made, start(made).number, success());
    return made;
  }
  void set_clock(DurationMilliseconds ahead) { clock_.set_wall(clock_.wall() + ahead); }
  /// So many days pass, and somebody looks each of them.
  std::int64_t pass(int days) {
    std::int64_t tasks = 0;
    for (int i = 0; i < days; ++i) {
      clock_.advance(std::chrono::hours(24));
      tasks += purge();
    }
    return tasks;
  }
  void reboot(DurationMilliseconds off) {
    clock_.reboot(std::chrono::milliseconds(off), std::chrono::seconds(20));
    boot_ += "+";
    reopen(boot_);
  }
  bool is_there(const std::string& id) { return ledger_->get(id).has_value(); }

  std::string boot_ = "boot";
};

TEST_F(LedgerRetention, KeepsWhatEndedWhileTheClockWasBack) {
  EXPECT_EQ(0, purge());
  set_clock(-kTenYears);
  const std::string unseen = ended();
  set_clock(kTenYears);
  reopen();
  EXPECT_EQ(0, purge());
  set_clock(-kTenYears);
  EXPECT_EQ(0, pass(2));
  const std::string seen = ended();
  EXPECT_EQ(0, pass(2));
  set_clock(kTenYears);
  for (int restart = 0; restart < 3; ++restart) {
    reopen();
    EXPECT_EQ(0, purge());
  }
  EXPECT_EQ(0, pass(26));
  EXPECT_TRUE(is_there(unseen));
  EXPECT_EQ(1, pass(1));
  EXPECT_FALSE(is_there(unseen));
  EXPECT_TRUE(is_there(seen));
  EXPECT_EQ(1, pass(4));
}

TEST_F(LedgerRetention, IsNotCutShortByAClockThatIsSetAhead) {
  const std::string id = ended();
  EXPECT_EQ(0, purge());
  set_clock(kTenYears);
  EXPECT_EQ(0, pass(15));
  reopen();
  EXPECT_EQ(0, pass(15));
  set_clock(-kTenYears);
  reopen();
  EXPECT_EQ(0, purge());
  EXPECT_TRUE(is_there(id));
  EXPECT_EQ(1, pass(1)) << "a clock that was wrong does not prolong it either";
}

TEST_F(LedgerRetention, APurgedTaskIsRememberedWhateverTheClockSays) {
  TaskSpec what = spec();
  what.id = id(1);
  create(what);
  end(id(1), start(id(1)).number, success());
  EXPECT_EQ(0, purge());
  EXPECT_EQ(1, pass(31));
  for (const DurationMilliseconds ahead : {kTenYears, -kTenYears, -kTenYears, kTenYears}) {
    set_clock(ahead);
    reopen();
    purge();
    EXPECT_TRUE(ledger_->create(what)->existed) << "it can't run again";
  }
  pass(60);
  EXPECT_TRUE(ledger_->create(what)->existed);
  pass(1);
  EXPECT_FALSE(ledger_->create(what)->existed) << "not for ever";
}

TEST_F(LedgerRetention, CountsTheTimeThatTheAgentWasDownWhileTheMachineWasUp) {
  ended();
  EXPECT_EQ(0, purge());
  clock_.advance(std::chrono::milliseconds(options_.retention + 1));
  reopen();
  EXPECT_EQ(1, purge());
}

TEST_F(LedgerRetention, ADeviceThatWasOffForAYearPurgesLateAndNotForEver) {
  ended();
  EXPECT_EQ(0, pass(1));
  reboot(365 * limits::kDay);
  EXPECT_EQ(0, purge());
  EXPECT_EQ(0, pass(28));
  EXPECT_EQ(1, pass(2));
}

TEST_F(LedgerRetention, AClockThatIsSetAheadWhileTheDeviceIsOffTakesADayAtMost) {
  ended();
  purge();
  reboot(kTenYears);
  EXPECT_EQ(0, purge());
  EXPECT_EQ(0, pass(29));
  reboot(-kTenYears);
  EXPECT_EQ(0, purge());
  reboot(kTenYears);
  EXPECT_EQ(0, purge());
  EXPECT_EQ(1, pass(1));
}

TEST_F(LedgerRetention, ADeviceThatIsSwitchedOffEachNightPurgesInTime) {
  ended();
  purge();
  std::int64_t purged = 0;
  int days = 0;
  for (; purged == 0 && days < 100; ++days) {
    clock_.advance(std::chrono::hours(8));
    purged += purge();
    reboot(16 * 3'600'000);
    purged += purge();
  }
  EXPECT_NEAR(days, 30, 1);
}

TEST_F(LedgerRetention, AMachineWithoutAClockOfItsOwnStillPurges) {
  ended();
  UnixMilliseconds day = clock_.wall();
  std::int64_t purged = 0;
  // Switched on each day: it begins long ago, is set right after a minute, and runs for an hour.
  for (int boot = 0; boot <= 32; ++boot, day += limits::kDay) {
    clock_.set_wall(1'000'000);
    reopen("day-" + std::to_string(boot));
    EXPECT_EQ(0, purge());
    clock_.advance(std::chrono::minutes(1));
    clock_.set_wall(day);
    purged += purge();
    clock_.advance(std::chrono::hours(1));
    purged += purge();
    EXPECT_EQ(boot >= 30 ? 1 : 0, purged) << boot;
  }
}

TEST_F(LedgerRetention, RunsAndMessagesGoByTheSameTime) {
  options_.keep_runs = 1000;
  reopen();
  TaskSpec recurring = spec();
  recurring.schedule.update_interval = 1000;
  const std::string id = create(recurring);
  set_clock(-kTenYears);
  for (int i = 0; i < 3; ++i) {
    clock_.advance(std::chrono::seconds(1));
    ASSERT_TRUE(ledger_->advance_time(clock_.wall()));
    end(id, start(id).number, success());
  }
  RoomMessage message;
  message.room_id = "room";
  message.content = "{}";
  ASSERT_TRUE(ledger_->post(message));
  set_clock(kTenYears);
  const auto runs = [&] { return ledger_->runs(id)->size(); };
  const auto messages = [&] { return ledger_->messages("room", 10)->size(); };
  purge();
  EXPECT_EQ(3U, runs());
  pass(30);
  EXPECT_EQ(3U, runs());
  EXPECT_EQ(1U, messages());
  pass(1);
  EXPECT_EQ(1U, runs()) << "the last of a task that goes on stays";
  EXPECT_EQ(0U, messages());
}

TEST_F(LedgerRetention, ManyAreDatedAtOnce) {
  for (int i = 0; i < 35; ++i) ended();
  EXPECT_EQ(0, purge());
  EXPECT_EQ(35, pass(31));
}

TEST_F(LedgerRetention, WhatIsNotAcknowledgedIsNeverPurged) {
  meet_server();
  ended();
  EXPECT_EQ(0, purge());
  clock_.advance(std::chrono::hours(24 * 365));
  EXPECT_EQ(0, purge());
  acknowledge_all();
  EXPECT_EQ(1, purge());
}

TEST_F(LedgerRetention, WhatANewServerWasNeverToldIsNotPurged) {
  ended();
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  EXPECT_EQ(0, purge());
  clock_.advance(std::chrono::hours(24 * 365));
  EXPECT_EQ(0, purge());
}

}  // namespace
}  // namespace agenttask::agent
