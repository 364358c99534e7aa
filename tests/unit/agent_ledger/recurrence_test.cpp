#include "agent/ledger/recurrence.hpp"

#include <set>

#include <gtest/gtest.h>

namespace agenttask::agent {
namespace {

TEST(Passed, CountsThePointsOfAGrid) {
  EXPECT_EQ(passed(100, 10, 99).points, 0);
  EXPECT_EQ(passed(100, 10, 99).next, 100);
  EXPECT_EQ(passed(100, 10, 100).points, 1);
  EXPECT_EQ(passed(100, 10, 100).next, 110);
  EXPECT_EQ(passed(100, 10, 119).points, 2);
  EXPECT_EQ(passed(100, 10, 119).next, 120);
  EXPECT_EQ(passed(-25, 10, 0).points, 3);
  EXPECT_EQ(passed(-25, 10, 0).next, 5);
}

TaskSchedule schedule(Overlap overlap, CatchUp catch_up) {
  return {std::nullopt, 1000, 0, overlap, catch_up};
}

struct Expected {
  std::int64_t occurrences;
  std::int64_t missed;
  bool replace = false;
};

void expect(const TaskSchedule& schedule, Due due, Before before, std::int64_t waiting, Expected expected) {
  const Waiting result = take_due(schedule, due, before, waiting);
  EXPECT_EQ(result.occurrences, expected.occurrences);
  EXPECT_EQ(result.missed, expected.missed);
  EXPECT_EQ(result.replace, expected.replace);
  // Nothing gets lost: each runs, is missed, or waits.
  EXPECT_EQ(waiting + due.asleep + due.awake, result.occurrences + result.missed);
}

TEST(TakeDue, FollowsOverlapWhileAwake) {
  const auto skip = schedule(Overlap::skip, CatchUp::once);
  expect(skip, {0, 1}, Before::nothing, 0, {1, 0});
  expect(skip, {0, 1}, Before::active, 0, {0, 1});
  expect(skip, {0, 3}, Before::ending, 0, {0, 3});
  expect(skip, {0, 3}, Before::nothing, 0, {1, 2});
  const auto queue = schedule(Overlap::queue, CatchUp::once);
  expect(queue, {0, 1}, Before::active, 0, {1, 0});
  expect(queue, {0, 3}, Before::ending, 2, {5, 0});
  expect(queue, {0, 5}, Before::active, 98, {100, 3});
  const auto replace = schedule(Overlap::cancel_previous, CatchUp::once);
  expect(replace, {0, 1}, Before::active, 0, {1, 0, true});
  expect(replace, {0, 1}, Before::active, 1, {1, 1, true});
  expect(replace, {0, 2}, Before::nothing, 0, {1, 1});
}

TEST(TakeDue, FollowsCatchUpAfterASleep) {
  expect(schedule(Overlap::skip, CatchUp::once), {10, 0}, Before::nothing, 0, {1, 9});
  expect(schedule(Overlap::skip, CatchUp::once), {10, 0}, Before::ending, 0, {1, 9});
  expect(schedule(Overlap::skip, CatchUp::once), {10, 0}, Before::active, 0, {0, 10});
  expect(schedule(Overlap::skip, CatchUp::all), {10, 0}, Before::nothing, 0, {10, 0});
  expect(schedule(Overlap::skip, CatchUp::all), {1000, 1}, Before::nothing, 0, {100, 901});
  expect(schedule(Overlap::skip, CatchUp::skip), {10, 0}, Before::nothing, 0, {0, 10});
  expect(schedule(Overlap::skip, CatchUp::skip), {10, 1}, Before::nothing, 0, {1, 10});
}

TEST(JitterOffset, IsStableAndSpread) {
  EXPECT_EQ(jitter_offset(0, "task", "node"), 0);
  EXPECT_EQ(jitter_offset(1000, "task", "node"), jitter_offset(1000, "task", "node"));
  std::set<DurationMilliseconds> offsets;
  for (int node = 0; node < 1000; ++node) {
    const auto offset = jitter_offset(1'000'000, "task", std::to_string(node));
    EXPECT_GE(offset, 0);
    EXPECT_LE(offset, 1'000'000);
    offsets.insert(offset * 10 / 1'000'001);
  }
  EXPECT_EQ(offsets.size(), 10U) << "all tenths of the range have some";
}

}  // namespace
}  // namespace agenttask::agent
