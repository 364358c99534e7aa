#include "server/main/listen_address.hpp"

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

TEST(ListenAddress, TakesAddressAndPort) {
  using Listen = std::pair<std::string, int>;
  EXPECT_EQ(*parse_listen("0.0.0.0"), (Listen{"0.0.0.0", -1}));
  EXPECT_EQ(*parse_listen("127.0.0.1:0"), (Listen{"127.0.0.1", 0}));
  EXPECT_EQ(*parse_listen("::"), (Listen{"::", -1}));
  EXPECT_EQ(*parse_listen("[::1]:8443"), (Listen{"::1", 8443}));
  EXPECT_EQ(*parse_listen("[::1]"), (Listen{"::1", -1}));
  for (const char* bad : {"", ":8443", "127.0.0.1:", "127.0.0.1:65536", "[::1", "[::1]8443", "127.0.0.1:x"}) {
    EXPECT_FALSE(parse_listen(bad)) << bad;
  }
}

}  // namespace
}  // namespace agenttask::server
