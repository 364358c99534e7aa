#include "server/main/setting_values.hpp"

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

constexpr DurationMilliseconds kMost = 1'000'000'000'000;

TEST(SettingValues, DurationsHaveAUnit) {
  EXPECT_EQ(*parse_duration("500ms", 0, kMost), 500);
  EXPECT_EQ(*parse_duration("90s", 0, kMost), 90'000);
  EXPECT_EQ(*parse_duration("30m", 0, kMost), 1'800'000);
  EXPECT_EQ(*parse_duration("24h", 0, kMost), 86'400'000);
  EXPECT_EQ(*parse_duration("7d", 0, kMost), 7 * 86'400'000LL);
  for (const char* bad : {"", "5", "5x", "s", "-5s", "+5s", "5 s", "1.5h", "5S", "99999999999999999999s",
                          "9223372036854775807d"}) {
    EXPECT_FALSE(parse_duration(bad, 0, kMost)) << bad;
  }
}

TEST(SettingValues, DurationsHaveBounds) {
  EXPECT_TRUE(parse_duration("1s", 1000, 2000));
  EXPECT_TRUE(parse_duration("2s", 1000, 2000));
  EXPECT_FALSE(parse_duration("999ms", 1000, 2000));
  EXPECT_FALSE(parse_duration("2001ms", 1000, 2000));
}

TEST(SettingValues, DurationsAreWrittenAsTheyAreRead) {
  for (const char* text : {"0s", "500ms", "90s", "30m", "24h", "7d", "1500ms"}) {
    EXPECT_EQ(*parse_duration(duration_text(*parse_duration(text, 0, kMost)), 0, kMost),
              *parse_duration(text, 0, kMost));
  }
  EXPECT_EQ(duration_text(86'400'000), "1d");
  EXPECT_EQ(duration_text(90'000), "90s");
}

TEST(SettingValues, NumbersHaveBounds) {
  EXPECT_EQ(*parse_number("0", 0, 5), 0);
  EXPECT_EQ(*parse_number("5", 0, 5), 5);
  for (const char* bad : {"", "6", "-1", "1x", " 1", "0x1", "1e3", "99999999999999999999"}) {
    EXPECT_FALSE(parse_number(bad, 0, 5)) << bad;
  }
}

TEST(SettingValues, ListsHaveNoHoles) {
  EXPECT_EQ(*parse_list("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(*parse_list(" a , b.c,::1"), (std::vector<std::string>{"a", "b.c", "::1"}));
  for (const char* bad : {"", ",", "a,", ",a", "a,,b", "a b", "https://a"})
    EXPECT_FALSE(parse_list(bad)) << bad;
}

TEST(SettingValues, ListenTakesAddressAndPort) {
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
