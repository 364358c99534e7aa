#include "server/store/housekeeping.hpp"
#include "tests/component/server_api/devices_fixture.hpp"

// A device that is replaced by one that may come late, or never.
namespace agenttask::server::test {
namespace {

class ReplacementApi : public DevicesApi {
 protected:
  void replace() {
    const auto token =
        ok("POST", "/v1/enrollment-tokens", {{"replace", device.id}}, 201)["token"].get<std::string>();
    ASSERT_EQ(post_enroll(token, net::PrivateKey::generate(), "alpha").status, 200);
  }
  std::string added(json body = {{"type", "echo"}}) {
    return add_task(device.id, body)["id"].get<std::string>();
  }
};

TEST_F(ReplacementApi, WhatWasNeverOfferedIsStillTheServersToDecide) {
  sent_task();
  const auto unwanted = added();
  const auto deleted = added();
  const auto paused = added({{"type", "echo"}, {"schedule", {{"updateInterval", 60'000}}}});
  ok("POST", "/v1/tasks/" + paused + "/pause", nullptr, 202);
  const auto expires = clock.wall() + 60'000;
  const auto late = added({{"type", "echo"}, {"options", {{"expiresAt", expires}}}});
  replace();
  EXPECT_FALSE(store->read().value()->task(unwanted, WithData::no)->offered);
  EXPECT_EQ(ok("POST", "/v1/tasks/" + unwanted + "/cancel")["status"], "cancelled");
  EXPECT_EQ(ok("DELETE", "/v1/tasks/" + deleted)["status"], "cancelled");
  clock.advance(std::chrono::minutes(2));
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    (void)expire_tasks(writes, clock.wall(), 100);
    return {};
  }));
  EXPECT_EQ(task(late)["reason"], "expired");
  // What was asked of the rest still goes with it.
  EXPECT_EQ(task(paused)["status"], "pending");
  EXPECT_EQ(task(paused)["requested"], (json{"pause"}));
}

}  // namespace
}  // namespace agenttask::server::test
