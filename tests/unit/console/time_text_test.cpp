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
  EXPECT_EQ(parse_duration("1d12h").value(), 36 * 3'600'000);
  EXPECT_EQ(parse_duration("1h 30m").value(), 90 * 60'000);
  EXPECT_EQ(parse_duration("2 hours 5 minutes").value(), 125 * 60'000);
  EXPECT_EQ(parse_duration("1 Day").value(), limits::kDay);
  EXPECT_EQ(parse_duration("2w").value(), 14 * limits::kDay);
  for (const char* text : {"",
                           "s",
                           "-1s",
                           "1.5s",
                           "1y",
                           "1 month",
                           "9223372036854775807d",
                           "NaN",
                           "30m1h",
                           "1h1h",
                           "1h ",
                           " ",
                           "1h30",
                           "1d12",
                           "1h,5m",
                           "2ss",
                           "1e3s",
                           "+5s",
                           "0x10s",
                           "99999999999999999999s"}) {
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

/// When the local clock of Berlin shows this.
UnixMilliseconds at(const char* text) {
  return parse_time(text, kNow).value();
}

// kNow is 06:10 on a Saturday in Berlin.
TEST_F(TimeText, ReadsDaysAndClockTimes) {
  EXPECT_EQ(at("tomorrow 09:00"), at("2025-11-23T09:00"));
  EXPECT_EQ(at("Tomorrow at 9:00"), at("2025-11-23T09:00"));
  EXPECT_EQ(at("tomorrow 9am"), at("2025-11-23T09:00"));
  EXPECT_EQ(at("tomorrow 9:30 PM"), at("2025-11-23T21:30"));
  EXPECT_EQ(at("tomorrow 12am"), at("2025-11-23T00:00"));
  EXPECT_EQ(at("tomorrow 12pm"), at("2025-11-23T12:00"));
  EXPECT_EQ(at("  tomorrow   09:00:30  "), at("2025-11-23T09:00:30"));
  EXPECT_EQ(at("today 18:30"), at("2025-11-22T18:30"));
  EXPECT_EQ(at("today 05:00"), at("2025-11-22T05:00")) << "said so: it is past and runs at once";
  EXPECT_EQ(at("monday 8:00"), at("2025-11-24T08:00"));
  EXPECT_EQ(at("mon 8:00"), at("2025-11-24T08:00"));
  EXPECT_EQ(at("saturday 06:11"), at("2025-11-22T06:11")) << "later today";
  EXPECT_EQ(at("saturday 06:10"), at("2025-11-29T06:10")) << "this moment is over: the next one";
  EXPECT_EQ(at("friday 23:59"), at("2025-11-28T23:59"));
  EXPECT_EQ(at("09:00"), at("2025-11-22T09:00"));
  EXPECT_EQ(at("06:10"), at("2025-11-23T06:10")) << "the next time that a clock shows it";
  EXPECT_EQ(at("at 5:00"), at("2025-11-23T05:00"));
  EXPECT_EQ(at("7pm"), at("2025-11-22T19:00"));
  EXPECT_EQ(at("in 2h"), kNow + 7'200'000);
  EXPECT_EQ(at("in 1 day 6 hours"), kNow + 30 * 3'600'000);
  EXPECT_EQ(at("+1d12h"), kNow + 36 * 3'600'000);
  EXPECT_EQ(at("now"), kNow);
  EXPECT_EQ(at("in a week"), kNow + 7 * limits::kDay);
  EXPECT_EQ(at("in an hour"), kNow + 3'600'000);
  EXPECT_EQ(at("tomorrow at 9"), at("2025-11-23T09:00"));
  EXPECT_EQ(at("at 5"), at("2025-11-23T05:00"));
  EXPECT_EQ(at("noon"), at("2025-11-22T12:00"));
  EXPECT_EQ(at("tomorrow at noon"), at("2025-11-23T12:00"));
  EXPECT_EQ(at("monday noon"), at("2025-11-24T12:00"));
  EXPECT_EQ(at("midnight"), at("2025-11-23T00:00"));
}

TEST_F(TimeText, AsksBackWhereALengthOrAMonthMayBeMeant) {
  EXPECT_EQ(parse_time("2h", kNow).error().message, "'2h' says how long, not when; write \"in 2h\"");
  EXPECT_EQ(parse_interval("1M").error().message,
            "'1M' could mean minutes or months; write 1m, or months in days");
  EXPECT_FALSE(parse_duration("1h 5M"));
  EXPECT_EQ(parse_duration("5MIN").value(), 300'000);
  for (const char* text :
       {"tomorrow midnight", "monday at midnight", "in a 2 weeks", "noon 5", "at", "at 24"}) {
    EXPECT_FALSE(parse_time(text, kNow)) << text;
  }
}

TEST_F(TimeText, EndsOfMonthsAndYearsAreDaysLikeOthers) {
  const UnixMilliseconds eve = at("2027-12-31T23:30");
  EXPECT_EQ(parse_time("tomorrow 01:00", eve).value(), at("2028-01-01T01:00"));
  EXPECT_EQ(parse_time("23:00", eve).value(), at("2028-01-01T23:00"));
  EXPECT_EQ(parse_time("tomorrow 01:00", at("2028-02-28T12:00")).value(), at("2028-02-29T01:00"));
  EXPECT_EQ(parse_time("tomorrow 01:00", at("2028-02-29T12:00")).value(), at("2028-03-01T01:00"));
}

TEST_F(TimeText, ATimeThatTheClocksLeaveOutIsAsMuchLater) {  // 02:00 to 03:00 on 2026-03-29
  EXPECT_EQ(at("2026-03-29T01:59"), at("2026-03-29T00:59Z"));
  EXPECT_EQ(at("2026-03-29T02:00"), at("2026-03-29T01:00Z"));
  EXPECT_EQ(at("2026-03-29T02:30"), at("2026-03-29T01:30Z"));
  EXPECT_EQ(format_time(at("2026-03-29T02:30")), "2026-03-29 03:30:00");
  EXPECT_EQ(at("2026-03-29T03:00"), at("2026-03-29T01:00Z"));
  EXPECT_EQ(parse_time("tomorrow 02:30", at("2026-03-28T12:00")).value(), at("2026-03-29T01:30Z"));
}

TEST_F(TimeText, ATimeThatIsThereTwiceIsTheFirst) {  // 02:00 to 03:00 on 2026-10-25
  EXPECT_EQ(at("2026-10-25T01:59"), at("2026-10-24T23:59Z"));
  EXPECT_EQ(at("2026-10-25T02:30"), at("2026-10-25T00:30Z"));
  EXPECT_EQ(at("2026-10-25T03:00"), at("2026-10-25T02:00Z"));
  // Between the two it is over, so the next one is tomorrow's.
  EXPECT_EQ(parse_time("02:30", at("2026-10-25T00:45Z")).value(), at("2026-10-26T02:30"));
}

TEST_F(TimeText, TomorrowIsTheSameClockTimeAlsoWhenADayHas23Or25Hours) {
  EXPECT_EQ(parse_time("tomorrow 09:00", at("2026-03-28T09:00")).value() - at("2026-03-28T09:00"),
            23 * 3'600'000);
  EXPECT_EQ(parse_time("tomorrow 09:00", at("2026-10-24T09:00")).value() - at("2026-10-24T09:00"),
            25 * 3'600'000);
  // A distance is a distance.
  EXPECT_EQ(parse_time("in 1d", at("2026-03-28T09:00")).value() - at("2026-03-28T09:00"), 24 * 3'600'000);
}

TEST_F(TimeText, KnowsZonesOfOtherShapes) {
  const auto in_zone = [](const char* zone, const char* text) {
    setenv("TZ", zone, 1);
    tzset();
    return parse_time(text, kNow).value();
  };
  const auto utc = [&](const char* text) { return in_zone("UTC", text); };
  EXPECT_EQ(in_zone("Asia/Kathmandu", "2026-01-01T00:00"), utc("2025-12-31T18:15Z"));
  EXPECT_EQ(in_zone("America/New_York", "2026-03-08T02:30"), utc("2026-03-08T07:30Z"));     // left out
  EXPECT_EQ(in_zone("America/New_York", "2026-11-01T01:30"), utc("2026-11-01T05:30Z"));     // the first
  EXPECT_EQ(in_zone("Australia/Lord_Howe", "2026-10-04T02:15"), utc("2026-10-03T15:45Z"));  // half an hour
  EXPECT_EQ(in_zone("Pacific/Apia", "2011-12-30T12:00"), utc("2011-12-30T22:00Z"));         // a day left out
}

TEST_F(TimeText, RefusesPhrasesThatSayTooLittleOrTooMuch) {
  for (const char* text : {"tomorrow",
                           "today",
                           "monday",
                           "next monday 8:00",
                           "yesterday 09:00",
                           "tomorrow 25:00",
                           "tomorrow 9",
                           "tomorrow 09:60",
                           "tomorrow 13pm",
                           "tomorrow 0am",
                           "9",
                           "9:5",
                           "009:00",
                           "09:00 tomorrow",
                           "tomorrow 09:00 x",
                           "tomorrow09:00",
                           "mo 8:00",
                           "mond 8:00",
                           "in",
                           "in x",
                           "in 5",
                           "in2h",
                           "at",
                           "at at 9:00",
                           "at tomorrow 9:00",
                           "+ ",
                           "now 5",
                           "nowhere",
                           "2025-11-22  at 05:10",
                           "today 09:00Z",
                           "\xF0\x9F\x8E\x89",
                           "tomorrow\t09:00",
                           "9:00am am"}) {
    EXPECT_FALSE(parse_time(text, kNow)) << text;
  }
}

TEST_F(TimeText, ReadsIntervals) {
  EXPECT_EQ(parse_interval("24h").value(), limits::kDay);
  EXPECT_EQ(parse_interval("1d12h").value(), 36 * 3'600'000);
  EXPECT_EQ(parse_interval("90m").value(), 5'400'000);
  EXPECT_EQ(parse_interval("1s").value(), 1000);
  EXPECT_EQ(parse_interval("minute").value(), 60'000);
  EXPECT_EQ(parse_interval("hour").value(), 3'600'000);
  EXPECT_EQ(parse_interval("Day").value(), limits::kDay);
  EXPECT_EQ(parse_interval("daily").value(), limits::kDay);
  EXPECT_EQ(parse_interval("every week").value(), 7 * limits::kDay);
  EXPECT_EQ(parse_interval("3660d").value(), limits::kLongestInterval);
  for (const char* text : {"", "0", "999ms", "500ms", "5", "3661d", "h", "month", "year", "every", "-1d",
                           "day 2", "every every day", "1.5h", "ms"}) {
    EXPECT_FALSE(parse_interval(text)) << text;
  }
}

TEST_F(TimeText, FormatsForPeople) {
  EXPECT_EQ(format_interval(36 * 3'600'000), "1d 12h");
  EXPECT_EQ(format_interval(90'061'001), "1d 1h 1m 1s 1ms");
  EXPECT_EQ(format_interval(0), "0ms");
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
