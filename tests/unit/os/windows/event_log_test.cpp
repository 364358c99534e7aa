#include "platform/os/windows/event_log.hpp"

#include <gtest/gtest.h>

namespace agenttask::os {
namespace {

TEST(EventLog, TellsWarningsAndErrorsFromTheRest) {
  EXPECT_EQ(weigh("2026-11-22T05:10:00.123Z info agenttaskd runs version=0.1.0"), LineWeight::unimportant);
  EXPECT_EQ(weigh("2026-11-22T05:10:00.123Z debug error warning"), LineWeight::unimportant);
  EXPECT_EQ(weigh("2026-11-22T05:10:00.123Z warning cannot reach the server"), LineWeight::warning);
  EXPECT_EQ(weigh("2026-11-22T05:10:00.123Z error the ledger can't be used"), LineWeight::error);
  EXPECT_EQ(weigh(R"({"time":"2026","level":"info","message":"error"})"), LineWeight::unimportant);
  EXPECT_EQ(weigh(R"({"time":"2026","level":"warning","message":"x"})"), LineWeight::warning);
  EXPECT_EQ(weigh("agenttaskd: slots: expected a number"), LineWeight::error);
}

TEST(EventLog, TakesStandardErrorAndGivesItBack) {
  {
    const EventLog log;
    std::fprintf(stderr, "2026-11-22T05:10:00.123Z warning of a test\n");
  }
  EXPECT_GE(std::fprintf(stderr, "%s", ""), 0);
}

}  // namespace
}  // namespace agenttask::os
