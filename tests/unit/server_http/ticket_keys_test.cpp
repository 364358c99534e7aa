#include "server/http/ticket_keys.hpp"

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

constexpr auto kLife = TicketKeys::kKeyLife;

std::string name_of(const TicketKeys::Key& key) {
  return {key.name.begin(), key.name.end()};
}

TEST(TicketKeys, SealsWithTheNewestAndOpensWithTheOneBefore) {
  TicketKeys keys;
  EXPECT_FALSE(keys.current());
  EXPECT_TRUE(keys.rotate(1000));
  const auto first = name_of(*keys.current());
  EXPECT_FALSE(keys.rotate(1000 + kLife - 1));
  EXPECT_EQ(name_of(*keys.current()), first);
  EXPECT_TRUE(keys.rotate(1000 + kLife));
  EXPECT_NE(name_of(*keys.current()), first);
  ASSERT_TRUE(keys.find(first));
  EXPECT_FALSE(keys.find(first)->current);
  EXPECT_TRUE(keys.rotate(1000 + 2 * kLife));
  EXPECT_FALSE(keys.find(first));
}

TEST(TicketKeys, OutliveARestart) {
  TicketKeys keys;
  keys.rotate(5);
  keys.rotate(5 + kLife);
  const auto again = TicketKeys::decode(keys.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->encode(), keys.encode());
  EXPECT_EQ(name_of(*(*again)->current()), name_of(*keys.current()));
}

TEST(TicketKeys, AClockPutBackMakesANewKey) {
  TicketKeys keys;
  keys.rotate(1'000'000);
  const auto first = name_of(*keys.current());
  EXPECT_TRUE(keys.rotate(999));
  EXPECT_NE(name_of(*keys.current()), first);
}

TEST(TicketKeys, DamagedFilesAreNoticed) {
  TicketKeys keys;
  keys.rotate(5);
  const auto good = keys.encode();
  for (const auto& bad : {std::string(), std::string("x"), good + "x", good.substr(0, good.size() - 2),
                          good + "1 00\n", good + "-1 " + good.substr(good.size() - 161)}) {
    EXPECT_FALSE(TicketKeys::decode(bad)) << bad;
  }
}

}  // namespace
}  // namespace agenttask::server
