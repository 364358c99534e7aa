#include "server/store/housekeeping.hpp"
#include "tests/component/server_api/devices_fixture.hpp"

// The expiry that nobody wished moves with the schedule, or it would end what was put off or made to recur.
namespace agenttask::server::test {
namespace {

class DefaultExpiryApi : public DevicesApi {
 protected:
  std::string added(json body = {{"type", "echo"}}) {
    return add_task(device.id, body)["id"].get<std::string>();
  }
  static std::string path(const std::string& id) { return "/v1/tasks/" + id; }
  std::int64_t in_days(std::int64_t days) const { return clock.wall() + days * limits::kDay; }
};

TEST_F(DefaultExpiryApi, ATaskThatIsPutOffExpiresThatMuchLater) {
  const auto id = added();
  const auto due = in_days(60);
  const auto put_off = ok("PATCH", path(id), {{"schedule", {{"scheduledFor", due}}}});
  EXPECT_EQ(put_off["options"]["expiresAt"], due + limits::kDefaultExpiry);
  clock.advance(std::chrono::hours(31 * 24));
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    (void)expire_tasks(writes, clock.wall(), 100);
    return {};
  }));
  EXPECT_EQ(task(id)["status"], "pending");
  const auto at_once = ok("PATCH", path(id), {{"schedule", {{"scheduledFor", nullptr}}}});
  EXPECT_EQ(at_once["options"]["expiresAt"], clock.wall() + limits::kDefaultExpiry)
      << "at once is not expired already";
}

TEST_F(DefaultExpiryApi, ATaskThatRecursFromNowOnDoesNotExpire) {
  const auto id = added();
  const auto changed = ok("PATCH", path(id), {{"schedule", {{"updateInterval", 86'400'000}}}});
  EXPECT_FALSE(changed["options"].contains("expiresAt")) << changed;
}

TEST_F(DefaultExpiryApi, WhatSomebodyWishedStays) {
  const auto wished = in_days(2);
  const auto id = added({{"type", "echo"}, {"options", {{"expiresAt", wished}}}});
  const json recurring = {{"schedule", {{"updateInterval", 86'400'000}}}};
  EXPECT_EQ(ok("PATCH", path(id), recurring)["options"]["expiresAt"], wished);
  json both = recurring;
  both["options"]["expiresAt"] = in_days(7);
  EXPECT_EQ(ok("PATCH", path(added()), both)["options"]["expiresAt"], in_days(7));
}

TEST_F(DefaultExpiryApi, TheDeviceIsToldTheWishAndMovesTheRestItself) {
  const auto id = sent_task();
  const json change = {{"schedule", {{"updateInterval", 86'400'000}}}};
  ok("PATCH", path(id), change, 202);
  const auto answer = polled(device, poll_of(device, cursor));
  ASSERT_EQ(answer.lines.size(), 1U);
  EXPECT_EQ(json::parse(answer.lines[0])["changes"], change);
}

}  // namespace
}  // namespace agenttask::server::test
