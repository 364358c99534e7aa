#include "agent/console/exit_code.hpp"

#include <gtest/gtest.h>

namespace agenttask::console {
namespace {

TaskView ended(TaskStatus status, std::string_view reason = {}) {
  TaskView view;
  view.task.spec.id = "018f";
  view.task.state.status = status;
  view.task.state.reason = reason;
  view.result.present = true;
  return view;
}

TEST(ExitCode, IsTheCommandsOwn) {
  TaskView view = ended(TaskStatus::complete);
  view.result.exit_code = 0;
  EXPECT_EQ(conclude(view, false).exit_code, 0);
  view = ended(TaskStatus::failed, reason::kExitStatus);
  for (const int code : {1, 2, 42, 124, 125, 255}) {
    view.result.exit_code = code;
    EXPECT_EQ(conclude(view, false).exit_code, code);
    EXPECT_EQ(conclude(view, false).message, "") << "the command has said it itself";
  }
}

TEST(ExitCode, TellsASignalFromAnExit) {
  TaskView view = ended(TaskStatus::failed, reason::kExitStatus);
  view.result.signal = 9;
  view.result.message = "ended by SIGKILL";
  EXPECT_EQ(conclude(view, false).exit_code, 137);
  EXPECT_EQ(conclude(view, false).message, "ended by SIGKILL");
  view.result.signal.reset();
  view.result.exit_code = 9;
  EXPECT_EQ(conclude(view, false).exit_code, 9);
}

TEST(ExitCode, TimeoutIs124WhateverTheProcessSaid) {
  TaskView view = ended(TaskStatus::failed, reason::kTimeout);
  view.task.spec.options.timeout = 2000;
  view.result.signal = 15;
  EXPECT_EQ(conclude(view, false).exit_code, kTimedOut);
  EXPECT_EQ(conclude(view, false).message, "timed out after 2s; --timeout allows more time");
}

TEST(ExitCode, AgentTasksOwnFailuresAre125) {
  for (const std::string_view why :
       {reason::kInterrupted, reason::kExpired, reason::kRejected, reason::kInvalid, reason::kWorkerError,
        std::string_view("something-new")}) {
    TaskView view = ended(TaskStatus::failed, why);
    view.task.state.detail = "because";
    const Conclusion conclusion = conclude(view, false);
    EXPECT_EQ(conclusion.exit_code, kFailure) << why;
    EXPECT_NE(conclusion.message.find("because"), std::string::npos) << why;
  }
  EXPECT_EQ(conclude(ended(TaskStatus::running), false).exit_code, kFailure);
}

TEST(ExitCode, CancelIs130OnlyWhereItWasOurs) {
  EXPECT_EQ(conclude(ended(TaskStatus::cancelled), true).exit_code, kInterrupted);
  EXPECT_EQ(conclude(ended(TaskStatus::cancelled), false).exit_code, kFailure);
  // It ended by itself before the cancel came: that is what happened.
  TaskView view = ended(TaskStatus::complete);
  view.result.exit_code = 0;
  EXPECT_EQ(conclude(view, true).exit_code, 0);
}

TEST(ExitCode, OfOneRunIsThatOfTheRunWhateverTheTaskDoes) {
  Task task;
  task.state.status = TaskStatus::sent;  // a recurring one goes on
  RunView view;
  view.run.status = RunStatus::complete;
  EXPECT_EQ(conclude_run(view, task).exit_code, kSuccess);
  view.run.status = RunStatus::failed;
  view.run.reason = reason::kExitStatus;
  view.result.exit_code = 7;
  EXPECT_EQ(conclude_run(view, task).exit_code, 7);
  view.run.reason = reason::kTimeout;
  EXPECT_EQ(conclude_run(view, task).exit_code, kTimedOut);
  view.run.reason = reason::kWorkerError;
  EXPECT_EQ(conclude_run(view, task).exit_code, kFailure);
  view.run.status = RunStatus::cancelled;
  EXPECT_EQ(conclude_run(view, task).exit_code, kFailure);
}

}  // namespace
}  // namespace agenttask::console
