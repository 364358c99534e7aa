#include "server/store/presence.hpp"

#include <gtest/gtest.h>

#include "tests/support/manual_clock.hpp"

namespace agenttask::server {
namespace {

class PresenceTest : public testing::Test {
 protected:
  test::ManualClock clock;
  Logger logger{LogLevel::error, LogFormat::text};
  Presence presence{clock, logger};
};

TEST_F(PresenceTest, ADeviceWhosePollEndsIsOfflineEvenWhenItReportedMeanwhile) {
  const auto poll = clock.monotonic();
  presence.seen("node", poll);
  clock.advance(std::chrono::milliseconds(10));
  presence.heard("node");
  EXPECT_TRUE(presence.online("node"));
  presence.gone("node", poll);
  EXPECT_FALSE(presence.online("node"));
}

TEST_F(PresenceTest, AnEarlierPollThatEndsSaysNothing) {
  const auto first = clock.monotonic();
  presence.seen("node", first);
  clock.advance(std::chrono::milliseconds(10));
  presence.seen("node", clock.monotonic());
  presence.gone("node", first);
  EXPECT_TRUE(presence.online("node"));
}

TEST_F(PresenceTest, ADeviceThatIsSilentForTooLongIsOffline) {
  presence.seen("node", clock.monotonic());
  clock.advance(Presence::kOnlineFor);
  EXPECT_TRUE(presence.online("node"));
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_FALSE(presence.online("node"));
  presence.heard("node");
  EXPECT_TRUE(presence.online("node"));
}

}  // namespace
}  // namespace agenttask::server
