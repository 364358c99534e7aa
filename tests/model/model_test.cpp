#include <gtest/gtest.h>

#include "tests/model/explorer.hpp"

namespace agenttask::model {
namespace {

std::string told(const Exploration& exploration) {
  if (!exploration.finding) return "holds in all " + std::to_string(exploration.states) + " states";
  std::string text = exploration.finding->what + "\n";
  for (const std::string& step : exploration.finding->story) text += "  " + step + "\n";
  return text;
}

void expect_holds(Bounds bounds, std::size_t at_least) {
  const Exploration exploration = Explorer({}, bounds).run();
  EXPECT_FALSE(exploration.finding) << told(exploration);
  // A model that stops reaching states holds for no good reason.
  EXPECT_GE(exploration.states, at_least);
  testing::Test::RecordProperty("states", std::to_string(exploration.states));
}

TEST(Streams, HoldForOneTaskWithEveryFault) {
  expect_holds({.tasks = 1, .cancels = 1, .kills = 1, .restores = 1, .late_requests = 1}, 900'000);
}

TEST(Streams, HoldForTwoTasksWithKills) {
  expect_holds({.tasks = 2, .cancels = 1, .kills = 1, .restores = 0, .late_requests = 0}, 90'000);
}

TEST(Streams, HoldForTwoTasksWithARestore) {
  expect_holds({.tasks = 2, .cancels = 0, .kills = 0, .restores = 1, .late_requests = 0}, 700'000);
}

TEST(Streams, HoldForATaskMadeOnTheDeviceWithTwoRestores) {
  expect_holds({.tasks = 0, .local_tasks = 1, .cancels = 0, .kills = 1, .restores = 2, .late_requests = 1},
               10'000);
}

constexpr Bounds kQuestions{.tasks = 1,
                            .cancels = 0,
                            .questions = true,
                            .choices = 1,
                            .user_choices = 1,
                            .kills = 1,
                            .restores = 1,
                            .late_requests = 0};
constexpr Bounds kRuns{
    .tasks = 1, .cancels = 0, .questions = true, .runs = 2, .kills = 1, .restores = 1, .late_requests = 0};

TEST(Streams, HoldForAQuestionThatTwoAnswer) {
  expect_holds(kQuestions, 10'000);
}

TEST(Streams, HoldForAQuestionOfATaskThatIsCancelled) {
  Bounds bounds = kQuestions;
  bounds.cancels = 1;
  bounds.restores = 0;
  bounds.late_requests = 1;
  expect_holds(bounds, 10'000);
}

TEST(Streams, HoldForRunsThatAreAskedFor) {
  expect_holds(kRuns, 10'000);
}

TEST(Streams, HoldForRunsWithoutFaults) {
  Bounds bounds = kRuns;
  bounds.restores = 0;
  bounds.kills = 1;
  bounds.late_requests = 1;
  expect_holds(bounds, 1'000);
}

struct Missing {
  const char* name;
  bool Parts::*part;
  Bounds bounds;
};

void PrintTo(const Missing& missing, std::ostream* out) {
  *out << missing.name;
}

class WithoutOnePart : public testing::TestWithParam<Missing> {};

TEST_P(WithoutOnePart, SomethingBreaks) {
  Parts parts;
  parts.*GetParam().part = false;
  const Exploration exploration = Explorer(parts, GetParam().bounds).run();
  EXPECT_TRUE(exploration.finding) << told(exploration)
                                   << ": the model no longer needs this part, or no longer sees why";
}

constexpr Bounds kOneTask{.tasks = 1, .cancels = 1, .kills = 1, .restores = 1, .late_requests = 1};
constexpr Bounds kTwoTasks{.tasks = 2, .cancels = 1, .kills = 0, .restores = 1, .late_requests = 0};

INSTANTIATE_TEST_SUITE_P(
    Parts, WithoutOnePart,
    testing::Values(Missing{"OfferedBeforeSent", &Parts::offered_before_sent, kOneTask},
                    Missing{"NumberedWhenOffered", &Parts::numbered_when_offered, kTwoTasks},
                    Missing{"Chain", &Parts::chain, kOneTask},
                    Missing{"ReportsCursorInPoll", &Parts::reports_cursor_in_poll, kOneTask},
                    Missing{"ReportsFollowACursor", &Parts::reports_follow_a_cursor, kTwoTasks},
                    Missing{"CursorWithMessage", &Parts::cursor_with_message, kOneTask},
                    Missing{"StartBeforeWork", &Parts::start_before_work, kOneTask},
                    Missing{"QueuedAgain", &Parts::queued_again, kTwoTasks},
                    Missing{"CancelledAgain", &Parts::cancelled_again, kOneTask},
                    Missing{"AskedAgain", &Parts::asked_again, kOneTask},
                    Missing{"Snapshot", &Parts::snapshot, kOneTask},
                    Missing{"DeviceIsRight", &Parts::device_is_right, kOneTask},
                    Missing{"FirstAnswerCounts", &Parts::first_answer_counts, kQuestions},
                    Missing{"RequestsAreRemembered", &Parts::requests_are_remembered, kRuns}),
    [](const testing::TestParamInfo<Missing>& one) { return one.param.name; });

}  // namespace
}  // namespace agenttask::model
