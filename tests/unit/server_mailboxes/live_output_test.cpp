#include "server/mailboxes/live_output.hpp"

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;

class StillClock final : public Clock {
 public:
  [[nodiscard]] UnixMilliseconds wall() const override { return 0; }
  [[nodiscard]] MonotonicTime monotonic() const override { return {}; }
  [[nodiscard]] DurationMilliseconds since_boot() const override { return 0; }
};

LiveChunk chunk(std::int64_t offset, std::string bytes) {
  return {1, {OutputStream::standard_output, offset, std::move(bytes)}};
}

class LiveOutputTest : public ::testing::Test {
 protected:
  /// Counts touches of `key`.
  int& count(const std::string& key) {
    auto counter = std::make_unique<int>(0);
    auto& reference = *counter;
    counters.push_back(std::move(counter));
    watch(key, reference);
    return reference;
  }
  void watch(const std::string& key, int& counter) {
    mailboxes.park({key}, mailboxes.moment(), MonotonicTime(1h), [this, key, &counter](auto) {
      ++counter;
      watch(key, counter);
    });
  }
  StillClock clock;
  Mailboxes mailboxes{clock};
  std::unique_ptr<LiveOutput> live = make_live_output(mailboxes);
  std::vector<std::unique_ptr<int>> counters;
};

TEST_F(LiveOutputTest, NobodyWatchesAtFirst) {
  EXPECT_TRUE(live->watched("n").empty());
  EXPECT_FALSE(live->publish("n", "t", {chunk(0, "lost")}));
}

TEST_F(LiveOutputTest, FollowersGetWhatComesAfterThem) {
  auto early = live->follow("n", "t");
  EXPECT_TRUE(live->publish("n", "t", {chunk(0, "a")}));
  auto late = live->follow("n", "t");
  EXPECT_TRUE(live->publish("n", "t", {chunk(1, "b"), chunk(2, "c")}));
  EXPECT_EQ(early->take().size(), 3U);
  const auto taken = late->take();
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].chunk.bytes, "b");
  EXPECT_EQ(taken[1].chunk.offset, 2);
  EXPECT_TRUE(late->take().empty());
}

TEST_F(LiveOutputTest, OnlyTheTaskOfThatNodeIsReached) {
  auto follower = live->follow("n", "t");
  EXPECT_FALSE(live->publish("other", "t", {chunk(0, "forged")}));
  EXPECT_FALSE(live->publish("n", "u", {chunk(0, "other task")}));
  EXPECT_TRUE(follower->take().empty());
}

TEST_F(LiveOutputTest, TheNodeIsToldWhenTheFirstComesAndTheLastGoes) {
  const int& told = count("node:n");
  auto first = live->follow("n", "b");
  EXPECT_EQ(told, 1);
  auto second = live->follow("n", "b");
  EXPECT_EQ(told, 1);
  auto other = live->follow("n", "a");
  EXPECT_EQ(told, 2);
  EXPECT_EQ(live->watched("n"), (std::vector<std::string>{"a", "b"}));
  first.reset();
  EXPECT_EQ(told, 2);
  second.reset();
  EXPECT_EQ(told, 3);
  EXPECT_EQ(live->watched("n"), std::vector<std::string>{"a"});
}

TEST_F(LiveOutputTest, PublishingWakesTheFollowers) {
  const int& told = count("output:t");
  auto follower = live->follow("n", "t");
  live->publish("n", "t", {chunk(0, "a")});
  EXPECT_EQ(told, 1);
  live->publish("n", "t", {});
  EXPECT_EQ(told, 1);
}

TEST_F(LiveOutputTest, ASlowFollowerLosesTheOldest) {
  auto follower = live->follow("n", "t");
  const std::string half(kFollowerBytes / 2 - sizeof(LiveChunk), 'x');
  live->publish("n", "t", {chunk(0, half), chunk(1, half)});
  EXPECT_EQ(follower->take().size(), 2U);
  live->publish("n", "t", {chunk(0, half), chunk(1, half), chunk(2, "y")});
  const auto taken = follower->take();
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].chunk.offset, 1);
}

TEST_F(LiveOutputTest, CrumbsCountWithWhatTheyTakeInMemory) {
  auto follower = live->follow("n", "t");
  for (std::int64_t i = 0; i < 100'000; ++i) live->publish("n", "t", {chunk(2 * i, i % 2 == 0 ? "x" : "")});
  const auto taken = follower->take();
  EXPECT_LE(taken.size() * sizeof(LiveChunk), kFollowerBytes);
  ASSERT_FALSE(taken.empty());
  EXPECT_EQ(taken.back().chunk.offset, 199'998);
}

TEST_F(LiveOutputTest, AFollowerMayOutliveTheHub) {
  auto follower = live->follow("n", "t");
  live.reset();
  EXPECT_TRUE(follower->take().empty());
}

}  // namespace
}  // namespace agenttask::server
