#include <gmock/gmock.h>

#include "tests/component/server_api/api_fixture.hpp"

namespace agenttask::server::test {
namespace {

class NamesApi : public ApiTest {
 protected:
  std::string name_of(const EnrolledDevice& device) {
    return ok("GET", "/v1/nodes/" + device.id)["name"].get<std::string>();
  }
  /// What the device is told about its name when it polls with this one.
  std::string told(const EnrolledDevice& device, const std::string& name) {
    auto asked = poll_of(device);
    asked.name = name;
    return polled(device, asked).name;
  }
};

TEST_F(NamesApi, ADeviceTakesNoOtherNodesNameWithAPoll) {
  const auto alpha = enroll("alpha");
  const auto beta = enroll("beta");
  EXPECT_EQ(told(beta, "beta"), "");
  EXPECT_EQ(told(beta, "alpha"), "beta");
  EXPECT_EQ(name_of(beta), "beta");
  EXPECT_EQ(add_task("alpha")["nodeId"], alpha.id);
  EXPECT_EQ(told(beta, "gamma"), "");
  EXPECT_EQ(name_of(beta), "gamma");
  // The name of a node that was revoked is free.
  ok("DELETE", "/v1/nodes/alpha");
  EXPECT_EQ(told(beta, "alpha"), "");
  EXPECT_EQ(name_of(beta), "alpha");
}

TEST_F(NamesApi, WhatIsNoNameIsNotTaken) {
  const auto alpha = enroll("alpha");
  for (const auto& name : {std::string("a\nb"), alpha.id, std::string(), std::string("\x7f")}) {
    EXPECT_EQ(told(alpha, name), "alpha") << name;
    EXPECT_EQ(name_of(alpha), "alpha");
  }
}

TEST_F(NamesApi, ARefusedNameDoesNotKeepThePollFromWaiting) {
  const auto alpha = enroll("alpha");
  const auto beta = enroll("beta");
  auto asked = poll_of(beta);
  asked.name = "alpha";
  asked.wait = 55'000;
  polled(beta, asked);
  EXPECT_TRUE(std::holds_alternative<Wait>(poll(beta, asked, true)));
}

TEST_F(NamesApi, AnOperatorsNameWinsAndIsToldToTheDevice) {
  const auto alpha = enroll("alpha");
  ok("PATCH", "/v1/nodes/alpha", {{"name", "web-1"}});
  EXPECT_EQ(told(alpha, "alpha"), "web-1");
  EXPECT_EQ(told(alpha, "web-1"), "");
  EXPECT_EQ(told(alpha, "other"), "web-1");
  EXPECT_EQ(name_of(alpha), "web-1");
}

TEST_F(NamesApi, ANewcomerGetsASuffixWhereItsNameIsTaken) {
  const auto first = enroll("alpha");
  EXPECT_EQ(name_of(enroll("alpha")), "alpha-2");
  EXPECT_EQ(name_of(enroll("alpha")), "alpha-3");
  std::string name;
  for (int i = 0; i < 7; ++i) name = name_of(enroll("alpha"));
  EXPECT_THAT(name, ::testing::MatchesRegex("alpha-[0-9a-f]{8}"));
  EXPECT_EQ(name_of(first), "alpha");
}

TEST_F(NamesApi, ASuffixKeepsWithinTheLimitAndWholeCharacters) {
  std::string longest = "x";
  while (longest.size() < limits::kNodeNameBytes) longest += "\u00e9";
  ASSERT_EQ(longest.size(), limits::kNodeNameBytes);
  enroll(longest);
  const auto name = name_of(enroll(longest));
  EXPECT_EQ(name, longest.substr(0, limits::kNodeNameBytes - 2) + "-2");
}

TEST_F(NamesApi, ANodeThatIsReplacedAfterItsRevocationFindsItsNameTaken) {
  const auto alpha = enroll("alpha");
  const auto token =
      ok("POST", "/v1/enrollment-tokens", {{"replace", "alpha"}}, 201)["token"].get<std::string>();
  ok("DELETE", "/v1/nodes/alpha");
  EXPECT_EQ(name_of(enroll("alpha")), "alpha");
  const auto answer = json::parse(post_enroll(token, net::PrivateKey::generate(), "alpha").body);
  EXPECT_EQ(answer["nodeId"], alpha.id);
  EXPECT_EQ(answer["name"], "alpha-2");
}

}  // namespace
}  // namespace agenttask::server::test
