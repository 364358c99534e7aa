#include <set>

#include <gtest/gtest.h>

#include "platform/base/backoff.hpp"
#include "platform/base/ids.hpp"
#include "platform/base/log.hpp"

namespace agenttask {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToTheLimitWithFullJitter) {
  double fraction = 0.5;
  Backoff backoff(milliseconds(1000), milliseconds(5000), [&] { return fraction; });
  EXPECT_EQ(backoff.next(), milliseconds(500));
  EXPECT_EQ(backoff.next(), milliseconds(1000));
  EXPECT_EQ(backoff.next(), milliseconds(2000));
  EXPECT_EQ(backoff.next(), milliseconds(2500));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(backoff.next(), milliseconds(2500));
  fraction = 0;
  EXPECT_EQ(backoff.next(), milliseconds(0));
  backoff.reset();
  fraction = 0.5;
  EXPECT_EQ(backoff.next(), milliseconds(500));
}

TEST(Backoff, NeverUndercutsWhatTheOtherSideAskedFor) {
  Backoff backoff(milliseconds(100), milliseconds(1000), [] { return 0.0; });
  EXPECT_EQ(backoff.next(milliseconds(7000)), milliseconds(7000));
}

TEST(Uuid, IsVersion7WithTheTimeInFront) {
  const std::string id = make_uuid(0x0123456789AB);
  EXPECT_TRUE(is_uuid(id)) << id;
  EXPECT_EQ(id.substr(0, 15), "01234567-89ab-7");
  EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos);
}

TEST(Uuid, NeverComesTwice) {
  std::set<std::string> ids;
  for (int i = 0; i < 10000; ++i) ids.insert(make_uuid(1));
  EXPECT_EQ(ids.size(), 10000U);
}

TEST(Uuid, RecognizesTheUsualFormOnly) {
  EXPECT_TRUE(is_uuid("6BA7B810-9DAD-11D1-80B4-00C04FD430C8"));
  EXPECT_EQ(normalize_uuid("6BA7B810-9DAD-11D1-80B4-00C04FD430C8"), "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
  EXPECT_FALSE(is_uuid("6ba7b8109dad11d180b400c04fd430c8"));
  EXPECT_FALSE(is_uuid("6ba7b810-9dad-11d1-80b4-00c04fd430c"));
  EXPECT_FALSE(is_uuid("6ba7b810-9dad-11d1-80b4-00c04fd430cg"));
  EXPECT_FALSE(is_uuid("{ba7b810-9dad-11d1-80b4-00c04fd430c8"));
}

TEST(RandomFraction, StaysBelowOne) {
  for (int i = 0; i < 1000; ++i) {
    const double fraction = random_fraction();
    EXPECT_GE(fraction, 0.0);
    EXPECT_LT(fraction, 1.0);
  }
}

TEST(Quote, LetsNoBytesForgeALine) {
  EXPECT_EQ(quote("a b"), "\"a b\"");
  EXPECT_EQ(quote("a\nlevel=error\r\t\"\\"), R"("a\nlevel=error\r\t\"\\")");
  EXPECT_EQ(quote(std::string_view("\x1b[2J\0\x7f", 6)), R"("\u001b[2J\u0000\u007f")");
  EXPECT_EQ(quote("\xC3\xA9\xC3\xA8"), "\"\xC3\xA9\xC3\xA8\"");
  EXPECT_EQ(quote("\xFFx"), "\"\xEF\xBF\xBDx\"");
}

TEST(LogLevel, ParsesItsNamesOnly) {
  EXPECT_EQ(*parse_log_level("warning"), LogLevel::warning);
  EXPECT_TRUE(parse_log_level("WARN").has_error());
  EXPECT_EQ(*parse_log_format("json"), LogFormat::json);
  EXPECT_TRUE(parse_log_format("").has_error());
}

}  // namespace
}  // namespace agenttask
