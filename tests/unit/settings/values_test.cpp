#include "platform/settings/values.hpp"

#include <gtest/gtest.h>

namespace agenttask::settings {
namespace {

constexpr DurationMilliseconds kMost = 1'000'000'000'000;

TEST(Values, DurationsHaveAUnit) {
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

TEST(Values, DurationsHaveBounds) {
  EXPECT_TRUE(parse_duration("1s", 1000, 2000));
  EXPECT_TRUE(parse_duration("2s", 1000, 2000));
  EXPECT_FALSE(parse_duration("999ms", 1000, 2000));
  EXPECT_FALSE(parse_duration("2001ms", 1000, 2000));
}

TEST(Values, DurationsAreWrittenAsTheyAreRead) {
  for (const char* text : {"0s", "500ms", "90s", "30m", "24h", "7d", "1500ms"}) {
    EXPECT_EQ(*parse_duration(duration_text(*parse_duration(text, 0, kMost)), 0, kMost),
              *parse_duration(text, 0, kMost));
  }
  EXPECT_EQ(duration_text(86'400'000), "1d");
  EXPECT_EQ(duration_text(90'000), "90s");
}

TEST(Values, NumbersHaveBounds) {
  EXPECT_EQ(*parse_number("0", 0, 5), 0);
  EXPECT_EQ(*parse_number("5", 0, 5), 5);
  for (const char* bad : {"", "6", "-1", "1x", " 1", "0x1", "1e3", "99999999999999999999"}) {
    EXPECT_FALSE(parse_number(bad, 0, 5)) << bad;
  }
}

TEST(Values, ListsHaveNoHoles) {
  EXPECT_EQ(*parse_list("a"), std::vector<std::string>{"a"});
  EXPECT_EQ(*parse_list(" a , b.c,::1"), (std::vector<std::string>{"a", "b.c", "::1"}));
  for (const char* bad : {"", ",", "a,", ",a", "a,,b", "a b", "https://a"})
    EXPECT_FALSE(parse_list(bad)) << bad;
}

TEST(Values, ZeroNeedsNoUnitWhereItIsAllowed) {
  EXPECT_EQ(*parse_duration("0", 0, kMost), 0);
  EXPECT_EQ(*parse_duration("0s", 0, kMost), 0);
  EXPECT_EQ(*parse_duration("0", 1000, kMost, true), 0);
  EXPECT_EQ(*parse_duration("0ms", 1000, kMost, true), 0);
  EXPECT_FALSE(parse_duration("999ms", 1000, kMost, true));
  EXPECT_FALSE(parse_duration("0", 1000, kMost));
  EXPECT_FALSE(parse_duration("00", 1000, kMost));
}

TEST(Values, SizesHaveAUnitAndBounds) {
  EXPECT_EQ(*parse_size("100", 0, kMost), 100);
  EXPECT_EQ(*parse_size("100B", 0, kMost), 100);
  EXPECT_EQ(*parse_size("64KiB", 0, kMost), 65'536);
  EXPECT_EQ(*parse_size("2GiB", 0, kMost), 2LL * 1024 * kMebibyte);
  EXPECT_EQ(*parse_size("3", 0, kMost, kMebibyte), 3 * kMebibyte);
  EXPECT_EQ(*parse_size("4KiB", 4096, 4096), 4096);
  EXPECT_FALSE(parse_size("4095", 4096, 4096));
  EXPECT_FALSE(parse_size("4097", 4096, 4096));
  for (const char* bad : {"", "KiB", "1KB", "1 KiB", "-1", "1.5MiB", "9223372036854775807GiB"})
    EXPECT_FALSE(parse_size(bad, 0, kMost)) << bad;
  for (const char* text : {"0B", "100B", "64KiB", "256MiB", "1GiB"})
    EXPECT_EQ(size_text(*parse_size(text, 0, 1024 * kMost)), text);
}

TEST(Values, BooleansHaveWords) {
  for (const char* text : {"true", "yes", "on"}) EXPECT_TRUE(*parse_boolean(text)) << text;
  for (const char* text : {"false", "no", "off"}) EXPECT_FALSE(*parse_boolean(text)) << text;
  for (const char* bad : {"", "1", "True", "maybe"}) EXPECT_FALSE(parse_boolean(bad)) << bad;
}

TEST(Values, TextHasALimit) {
  EXPECT_EQ(*parse_text("abc", 3), "abc");
  EXPECT_EQ(parse_text("abcd", 3).error().message, "expected at most 3 bytes");
}

TEST(Values, ErrorsSayWhatIsAccepted) {
  EXPECT_EQ(parse_number("x", 1, 5).error().message, "expected a whole number from 1 to 5");
  EXPECT_EQ(parse_duration("x", 1000, 86'400'000, true).error().message,
            "expected 0, or a duration from 1s to 1d, as 500ms, 90s, 30m, 24h or 7d");
  EXPECT_EQ(parse_size("x", 1024, kMebibyte).error().message,
            "expected a size from 1KiB to 1MiB, as 64KiB or 4MiB");
  EXPECT_EQ(parse_boolean("x").error().message, "expected true or false");
}

}  // namespace
}  // namespace agenttask::settings
