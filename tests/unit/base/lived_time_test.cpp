#include "platform/base/lived_time.hpp"

#include <gtest/gtest.h>

#include "tests/support/manual_clock.hpp"

namespace agenttask {
namespace {

constexpr DurationMilliseconds kHour = 3'600'000;
constexpr DurationMilliseconds kDay = 24 * kHour;
constexpr DurationMilliseconds kTenYears = 3650 * kDay;

class Lived : public testing::Test {
 protected:
  Lived() { look(); }
  DurationMilliseconds look() { return lived.look(clock, boot); }
  void pass(DurationMilliseconds time) { clock.advance(std::chrono::milliseconds(time)); }
  void set(DurationMilliseconds ahead) { clock.set_wall(clock.wall() + ahead); }
  void reboot(DurationMilliseconds off) {
    clock.reboot(std::chrono::milliseconds(off), std::chrono::seconds(20));
    boot += "+";
  }

  test::ManualClock clock;
  std::string boot = "boot";
  LivedTime lived;
};

TEST_F(Lived, BeginsWithNothingAndFollowsTheTimeThatPasses) {
  EXPECT_EQ(0, lived.total);
  pass(kHour);
  EXPECT_EQ(0, look());
  EXPECT_EQ(kHour, lived.total);
  clock.sleep(std::chrono::milliseconds(3 * kDay));
  EXPECT_EQ(0, look());
  EXPECT_EQ(kHour + 3 * kDay, lived.total);
}

TEST_F(Lived, NoSettingOfTheClockWithinABootIsTime) {
  for (const DurationMilliseconds ahead :
       {kTenYears, -kTenYears, -kTenYears, kTenYears, 2 * kHour, -2 * kHour}) {
    set(ahead);
    EXPECT_EQ(ahead, look());
    EXPECT_EQ(0, lived.total);
  }
  pass(5);
  look();
  EXPECT_EQ(5, lived.total);
}

TEST_F(Lived, AnAbsenceIsBelievedUpToADay) {
  reboot(kHour);
  EXPECT_EQ(0, look());
  EXPECT_EQ(kHour, lived.total);
  reboot(kDay);
  EXPECT_EQ(0, look());
  EXPECT_EQ(kHour + kDay, lived.total);
  reboot(kDay + 1);
  EXPECT_EQ(1, look());
  EXPECT_EQ(kHour + 2 * kDay, lived.total);
  set(kTenYears);
  look();
  EXPECT_EQ(kHour + 2 * kDay, lived.total) << "all that this boot may take was taken";
}

TEST_F(Lived, AClockThatIsSetRightAfterTheBootTellsOfTheAbsence) {
  const UnixMilliseconds before = clock.wall();
  reboot(0);
  clock.set_wall(1000);
  look();
  EXPECT_EQ(0, lived.total);
  pass(60'000);
  look();
  EXPECT_EQ(60'000, lived.total);
  clock.set_wall(before + 5 * kHour);
  look();
  EXPECT_EQ(5 * kHour, lived.total);
}

TEST_F(Lived, WhatTheClockShowedBeforeIsNotTimeAgain) {
  set(kTenYears);
  look();
  for (int i = 0; i < 5; ++i) {
    reboot(-kTenYears);
    look();
    reboot(kTenYears);
    look();
  }
  EXPECT_EQ(0, lived.total);
}

TEST_F(Lived, AfterAMonthWithoutItTheLatestTimeWasAWrongOne) {
  set(kTenYears);
  look();
  set(-kTenYears);
  look();
  pass(LivedTime::kDisbelief - 1);
  reboot(kHour);
  look();
  EXPECT_EQ(0, lived.total) << "the time until that reboot nobody saw";
  pass(LivedTime::kDisbelief);
  look();
  EXPECT_EQ(LivedTime::kDisbelief, lived.total);
  reboot(kHour);
  look();
  EXPECT_EQ(LivedTime::kDisbelief + kHour, lived.total);
}

TEST_F(Lived, AnotherMachinesUptimeIsNoTime) {
  clock.reboot(std::chrono::milliseconds(kHour), std::chrono::milliseconds(kTenYears));
  boot = "another";
  look();
  EXPECT_EQ(kHour, lived.total);
  // The same id, and less time since the boot: not the same boot.
  clock.reboot(std::chrono::milliseconds(kHour), std::chrono::milliseconds(kHour));
  look();
  EXPECT_EQ(2 * kHour, lived.total);
}

TEST_F(Lived, WhatWasNotStoredIsFoundAgainWithinTheBoot) {
  const LivedTime stored = lived;
  pass(kDay);
  look();
  lived = stored;
  pass(kHour);
  look();
  EXPECT_EQ(kDay + kHour, lived.total);
}

}  // namespace
}  // namespace agenttask
