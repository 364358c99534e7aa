#include "platform/os/system_clock.hpp"

#include <ctime>

#include <gtest/gtest.h>

namespace agenttask::os {
namespace {

TEST(SystemClock, FollowsTheMachine) {
  const SystemClock clock;
  const auto seconds = static_cast<UnixMilliseconds>(std::time(nullptr));
  EXPECT_NEAR(static_cast<double>(clock.wall()) / 1000, static_cast<double>(seconds), 2.0);
  const auto monotonic = clock.monotonic();
  const auto since_boot = clock.since_boot();
  EXPECT_GT(since_boot, 0);
  EXPECT_GE(clock.monotonic(), monotonic);
  EXPECT_GE(clock.since_boot(), since_boot);
}

}  // namespace
}  // namespace agenttask::os
