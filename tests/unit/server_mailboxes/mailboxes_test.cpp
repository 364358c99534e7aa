#include "server/mailboxes/mailboxes.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;

class ManualClock final : public Clock {
 public:
  [[nodiscard]] UnixMilliseconds wall() const override { return 0; }
  [[nodiscard]] MonotonicTime monotonic() const override { return MonotonicTime(1h) + passed; }
  [[nodiscard]] DurationMilliseconds since_boot() const override { return 0; }
  std::chrono::milliseconds passed{0};
};

class RealClock final : public Clock {
 public:
  [[nodiscard]] UnixMilliseconds wall() const override { return 0; }
  [[nodiscard]] MonotonicTime monotonic() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] DurationMilliseconds since_boot() const override { return 0; }
};

class MailboxesTest : public ::testing::Test {
 protected:
  Mailboxes::WaiterId park(std::vector<std::string> keys, const std::string& name,
                           std::chrono::milliseconds wait = 10s, bool joins = false) {
    return mailboxes.park(
        std::move(keys), mailboxes.moment(), clock.monotonic() + wait,
        [this, name](auto wake) {
          woken.push_back(name + (wake == Mailboxes::Wake::touched ? "" : " late"));
        },
        joins);
  }
  void join(const std::string& key) { mailboxes.join(std::span(&key, 1)); }
  ManualClock clock;
  Mailboxes mailboxes{clock};
  std::vector<std::string> woken;
  using Names = std::vector<std::string>;
};

TEST_F(MailboxesTest, WakesThoseOfTheKeyInOrderOfParkingAndOnce) {
  park({"node:a"}, "first");
  park({"node:b"}, "other");
  park({"node:a", "task:1"}, "second");
  mailboxes.touch("node:a");
  EXPECT_EQ(woken, (Names{"first", "second"}));
  mailboxes.touch("task:1");
  mailboxes.touch("node:a");
  EXPECT_EQ(woken.size(), 2U);
  EXPECT_EQ(mailboxes.parked(), 1U);
}

TEST_F(MailboxesTest, SeveralKeysAtOnceWakeOnce) {
  park({"node:a", "task:1"}, "one");
  const std::vector<std::string> keys{"task:1", "node:a", "task:1"};
  mailboxes.touch(keys);
  EXPECT_EQ(woken, Names{"one"});
}

TEST_F(MailboxesTest, ThoseWhoJoinAreWokenBeforeTheCommitAndTheOthersByIt) {
  park({"node:a"}, "reads");
  park({"node:a"}, "writes", 10s, true);
  park({"node:b"}, "other", 10s, true);
  join("node:a");
  EXPECT_EQ(woken, Names{"writes"});
  mailboxes.touch("node:a");
  EXPECT_EQ(woken, (Names{"writes", "reads"}));
}

TEST_F(MailboxesTest, WhoParksAgainBeforeTheCommitIsWokenByIt) {
  const auto moment = mailboxes.moment();
  join("node:a");  // and is evaluated: there is nothing yet
  mailboxes.touch("node:a");
  int woke = 0;
  mailboxes.park(
      {"node:a"}, moment, clock.monotonic() + 10s, [&](auto) { ++woke; }, true);
  EXPECT_EQ(woke, 1);
}

TEST_F(MailboxesTest, ATouchBetweenTheMomentAndParkingIsNotLost) {
  const auto before = mailboxes.moment();
  mailboxes.touch("node:a");
  bool called = false;
  mailboxes.park({"node:a"}, before, clock.monotonic() + 10s,
                 [&](auto wake) { called = wake == Mailboxes::Wake::touched; });
  EXPECT_TRUE(called);
  EXPECT_EQ(mailboxes.parked(), 0U);
}

TEST_F(MailboxesTest, ATouchBeforeTheMomentWakesNobody) {
  mailboxes.touch("node:a");
  park({"node:a"}, "one");
  EXPECT_TRUE(woken.empty());
}

TEST_F(MailboxesTest, DeadlinesWakeAtTheirTimeAndNotBefore) {
  park({"node:a"}, "long", 100ms);
  park({"node:a"}, "short", 50ms);
  EXPECT_EQ(mailboxes.expire(), clock.monotonic() + 50ms);
  clock.passed = 49ms;
  mailboxes.expire();
  EXPECT_TRUE(woken.empty());
  clock.passed = 50ms;
  EXPECT_EQ(mailboxes.expire(), clock.monotonic() + 50ms);
  EXPECT_EQ(woken, Names{"short late"});
  clock.passed = 100ms;
  EXPECT_EQ(mailboxes.expire(), std::nullopt);
  EXPECT_EQ(woken, (Names{"short late", "long late"}));
}

TEST_F(MailboxesTest, ACancelledWaiterIsNeverWoken) {
  const auto waiter = park({"node:a"}, "one");
  EXPECT_TRUE(mailboxes.cancel(waiter));
  EXPECT_FALSE(mailboxes.cancel(waiter));
  mailboxes.touch("node:a");
  mailboxes.expire_all();
  EXPECT_TRUE(woken.empty());
}

TEST_F(MailboxesTest, TheStopWakesEverybodyAsLate) {
  park({"node:a"}, "one");
  park({"task:1"}, "two");
  mailboxes.expire_all();
  EXPECT_EQ(woken, (Names{"one late", "two late"}));
  EXPECT_EQ(mailboxes.parked(), 0U);
}

TEST_F(MailboxesTest, ACallbackMayParkAgain) {
  mailboxes.park({"node:a"}, mailboxes.moment(), clock.monotonic() + 10s,
                 [&](auto) { park({"node:a"}, "again"); });
  mailboxes.touch("node:a");
  EXPECT_EQ(mailboxes.parked(), 1U);
  mailboxes.touch("node:a");
  EXPECT_EQ(woken, Names{"again"});
}

TEST_F(MailboxesTest, WhatACallbackHoldsMayTouchWhenItIsCancelled) {
  struct Toucher {
    explicit Toucher(Mailboxes& target) : mailboxes(target) {}
    ~Toucher() { mailboxes.touch("node:b"); }
    Toucher(const Toucher&) = delete;
    Toucher& operator=(const Toucher&) = delete;
    Mailboxes& mailboxes;
  };
  park({"node:b"}, "other");
  const auto waiter = mailboxes.park({"node:a"}, mailboxes.moment(), clock.monotonic() + 10s,
                                     [held = std::make_shared<Toucher>(mailboxes)](auto) {});
  EXPECT_TRUE(mailboxes.cancel(waiter));
  EXPECT_EQ(woken, Names{"other"});
}

TEST(MailboxesThreads, NoWakeUpIsLostUnderLoad) {
  const RealClock clock;
  Mailboxes mailboxes(clock);
  std::atomic<int> value{0};
  constexpr int kRounds = 20'000;
  std::jthread deadlines([&](const std::stop_token& stop) { mailboxes.run(stop); });
  std::jthread writer([&] {
    for (int i = 1; i <= kRounds; ++i) {
      value.store(i);
      mailboxes.touch("node:a");
    }
  });
  // Reads, and parks when nothing is new: a lost wake-up would end in the deadline.
  int seen = 0;
  while (seen < kRounds) {
    const auto moment = mailboxes.moment();
    if (const int now = value.load(); now != seen) {
      seen = now;
      continue;
    }
    std::atomic<int> wake{-1};
    mailboxes.park({"node:a"}, moment, clock.monotonic() + 30s, [&](auto how) {
      wake = static_cast<int>(how);
      wake.notify_one();
    });
    wake.wait(-1);
    ASSERT_EQ(wake, static_cast<int>(Mailboxes::Wake::touched));
  }
}

TEST(MailboxesThreads, TheDeadlineThreadSeesAnEarlierDeadline) {
  const RealClock clock;
  Mailboxes mailboxes(clock);
  std::jthread deadlines([&](const std::stop_token& stop) { mailboxes.run(stop); });
  std::atomic<bool> late{false};
  mailboxes.park({"a"}, mailboxes.moment(), clock.monotonic() + 1h, [](auto) {});
  mailboxes.park({"b"}, mailboxes.moment(), clock.monotonic() + 20ms, [&](auto wake) {
    late = wake == Mailboxes::Wake::timed_out;
    late.notify_one();
  });
  late.wait(false);
  EXPECT_EQ(mailboxes.parked(), 1U);
}

}  // namespace
}  // namespace agenttask::server
