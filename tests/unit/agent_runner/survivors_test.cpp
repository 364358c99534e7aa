#include "agent/runner/survivors.hpp"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace agenttask::agent {
namespace {

using Survivors = std::vector<os::ProcessInfo>;

std::vector<std::vector<std::int64_t>> pids(const std::vector<Survivors>& of_each) {
  std::vector<std::vector<std::int64_t>> all;
  for (const auto& survivors : of_each) {
    auto& own = all.emplace_back();
    for (const auto& process : survivors) own.push_back(process.pid);
  }
  return all;
}

TEST(ShareUnclaimed, WhatNoRunClaimsIsOfAllAndTheRestOfItsOwn) {
  std::vector<Survivors> of_each = {{{7, "a"}}, {}, {{9, "found only now"}}};
  share_unclaimed({{7, "a"}, {8, "nobody's"}}, of_each);
  EXPECT_EQ((std::vector<std::vector<std::int64_t>>{{7, 8}, {8}, {9, 8}}), pids(of_each));
}

TEST(ShareUnclaimed, WhereNothingSurvivedNothingIsAdded) {
  std::vector<Survivors> of_each(2);
  share_unclaimed({}, of_each);
  EXPECT_EQ((std::vector<std::vector<std::int64_t>>{{}, {}}), pids(of_each));
}

}  // namespace
}  // namespace agenttask::agent
