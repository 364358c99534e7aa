#include "agent/console_api/rights.hpp"

#include <gtest/gtest.h>

namespace agenttask::agent {
namespace {

const ConsoleSettings kNoGroups{"/run/a.sock", "", ""};
const ConsoleSettings kBoth{"/run/a.sock", "operators", "auditors"};

os::Peer user(std::vector<std::string> groups = {}) {
  os::Peer peer;
  peer.user_name = "bob";
  peer.user_id = "1000";
  peer.groups = std::move(groups);
  return peer;
}

TEST(Rights, RunIsForRootAndTheAgentsOwnUser) {
  os::Peer root = user();
  root.is_administrator = true;
  EXPECT_EQ(right_of(root, kNoGroups), Right::run);
  os::Peer same = user();
  same.is_same_user = true;
  EXPECT_EQ(right_of(same, kNoGroups), Right::run);
}

TEST(Rights, NobodyElseSeesAnythingUnlessAGroupSaysSo) {
  EXPECT_EQ(right_of(user(), kNoGroups), Right::none);
  EXPECT_EQ(right_of(user({"users", ""}), kNoGroups), Right::none) << "an empty name is no group";
  EXPECT_EQ(right_of(user({"users"}), kBoth), Right::none);
  EXPECT_EQ(right_of(user({"auditors"}), kBoth), Right::view);
  EXPECT_EQ(right_of(user({"operators"}), kBoth), Right::run);
  EXPECT_EQ(right_of(user({"auditors", "operators"}), kBoth), Right::run);
}

TEST(Rights, APersonMayChooseAndNoMore) {
  os::Peer person = user();
  person.is_person = true;
  EXPECT_EQ(right_of(person, kNoGroups), Right::choose);
  EXPECT_EQ(right_of(person, kBoth), Right::choose);
  EXPECT_EQ(right_of(user(), kBoth), Right::none) << "a service's user is nobody who is logged in";
  person.groups = {"auditors"};
  EXPECT_EQ(right_of(person, kBoth), Right::view) << "who may look may choose too";
  EXPECT_EQ(chooser_of(person), "user:bob");
  person.user_name.clear();
  EXPECT_EQ(chooser_of(person), "user:1000");
}

TEST(Rights, ARefusalSaysWhoMay) {
  const Error run = denied(user(), Right::run, kBoth);
  EXPECT_EQ(run.code, ErrorCode::denied);
  EXPECT_NE(run.message.find("bob"), std::string::npos);
  EXPECT_NE(run.message.find("operators"), std::string::npos);
  EXPECT_EQ(run.message.find("auditors"), std::string::npos);
  EXPECT_NE(denied(user(), Right::view, kBoth).message.find("auditors"), std::string::npos);
}

}  // namespace
}  // namespace agenttask::agent
