#include "agent/console/time_text.hpp"

#include <cstdlib>
#include <ctime>

#include <gtest/gtest.h>

#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

constexpr UnixMilliseconds kNow = 1'763'788'200'000;  // 2025-11-22T05:10:00Z

class TimeText : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
  }
  void TearDown() override {
    unsetenv("TZ");
    tzset();
  }
};

TEST_F(TimeText, ReadsIso8601WithAZone) {
  EXPECT_EQ(parse_time("2025-11-22T05:10:00Z", kNow).value(), kNow);
  EXPECT_EQ(parse_time("2025-11-22T06:10:00+01:00", kNow).value(), kNow);
  EXPECT_EQ(parse_time("2025-11-22t06:10+0100", kNow).value(), kNow);
  EXPECT_EQ(parse_time("2025-11-21 23:10:00.250-06:00", kNow).value(), kNow + 250);
  EXPECT_EQ(parse_time("2024-02-29T00:00:00Z", kNow).value(), 1'709'164'800'000);
}

TEST_F(TimeText, ReadsLocalTimeWithoutOne) {
  EXPECT_EQ(parse_time("2025-11-22T06:10", kNow).value(), kNow);
  EXPECT_EQ(parse_time("2025-07-01", kNow).value(), 1'751'320'800'000);  // midnight in summer time
}

TEST_F(TimeText, ReadsMillisecondsAndDistances) {
  EXPECT_EQ(parse_time("1763788200000", kNow).value(), kNow);
  EXPECT_EQ(parse_time("+90s", kNow).value(), kNow + 90'000);
  EXPECT_EQ(parse_time("+1d", kNow).value(), kNow + limits::kDay);
}

TEST_F(TimeText, RefusesWhatIsNoTime) {
  for (const char* text : {"",
                           "x",
                           "2025-13-01",
                           "2025-02-29",
                           "2025-11-22T24:00",
                           "2025-11-22T05:60",
                           "2025-11-22T05:10:60Z",
                           "2025-11-22T",
                           "2025-11-22T05",
                           "2025-11-22T05:10Zx",
                           "2025-11-22T05:10+1",
                           "2025-11-22T05:10:00.Z",
                           "1763788200" /* seconds */,
                           "-5",
                           "99999999999999999999",
                           "+",
                           "+x",
                           "+99999999999999d",
                           "1969-12-31T00:00Z",
                           "NaN",
                           "1e18"}) {
    EXPECT_FALSE(parse_time(text, kNow)) << text;
  }
}

TEST_F(TimeText, ReadsDurations) {
  EXPECT_EQ(parse_duration("500ms").value(), 500);
  EXPECT_EQ(parse_duration("30s").value(), 30'000);
  EXPECT_EQ(parse_duration("2m").value(), 120'000);
  EXPECT_EQ(parse_duration("1h").value(), 3'600'000);
  EXPECT_EQ(parse_duration("7d").value(), 7 * limits::kDay);
  EXPECT_EQ(parse_duration("0").value(), 0);
  for (const char* text : {"", "s", "-1s", "1.5s", "1 s", "1w", "9223372036854775807d", "NaN"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST_F(TimeText, ABareNumberIsAskedBack) {
  const auto refused = parse_duration("5");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "'5' has no unit: 5s or 5ms?");
  EXPECT_EQ(parse_time("+5", kNow).error().message, refused.error().message);
  EXPECT_TRUE(parse_duration("0")) << "nothing has no unit";
}

TEST_F(TimeText, FormatsForPeople) {
  EXPECT_EQ(format_time(kNow), "2025-11-22 06:10:00");
  EXPECT_EQ(format_time(kNow, kNow + 3000), "2025-11-22 06:10:00 (3s ago)");
  EXPECT_EQ(format_time(kNow, kNow - 7'200'000), "2025-11-22 06:10:00 (in 2h)");
  EXPECT_EQ(format_time(kNow, kNow + 999), "2025-11-22 06:10:00 (just now)");
  EXPECT_EQ(format_age(999), "just now");
  EXPECT_EQ(format_age(59'999), "59s ago");
  EXPECT_EQ(format_age(219'000), "3m ago");
  EXPECT_EQ(format_age(3 * limits::kDay), "3d ago");
  EXPECT_EQ(format_duration(0), "0ms");
  EXPECT_EQ(format_duration(-5), "0ms");
  EXPECT_EQ(format_duration(999), "999ms");
  EXPECT_EQ(format_duration(12'300), "12.3s");
  EXPECT_EQ(format_duration(245'000), "4m 5s");
  EXPECT_EQ(format_duration(3'600'000), "1h");
  EXPECT_EQ(format_duration(2 * limits::kDay + 4 * 3'600'000), "2d 4h");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(20 * 1024 * 1024), "20 MiB");
}

}  // namespace
}  // namespace agenttask::console
