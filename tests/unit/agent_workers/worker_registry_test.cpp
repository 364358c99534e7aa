#include <gtest/gtest.h>

#include "agent/workers/builtin_workers.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {
namespace {

TaskSpec command(const std::string& data) {
  TaskSpec spec;
  spec.type = "command";
  spec.data = data;
  return spec;
}

TEST(WorkerRegistry, ATypeHasOneWorker) {
  WorkerRegistry registry;
  EXPECT_EQ(nullptr, registry.find("echo"));
  EXPECT_TRUE(registry.add("echo", make_echo_worker()));
  const TaskWorker* first = registry.find("echo");
  ASSERT_NE(nullptr, first);
  const auto second = registry.add("echo", make_echo_worker());
  ASSERT_FALSE(second);
  EXPECT_EQ(ErrorCode::conflict, second.error().code);
  EXPECT_EQ(first, registry.find("echo"));
  EXPECT_EQ(nullptr, registry.find("Echo"));
  EXPECT_EQ(std::vector<std::string>{"echo"}, registry.types());
}

TEST(CommandWorker, RefusesBeforeAStartWhatCanNeverRun) {
  os::ProcessSupervisor supervisor;
  const auto worker = make_command_worker(supervisor);
  EXPECT_TRUE(*worker->validate(command(R"({"cmd":"true"})")));
  for (const char* data :
       {"{}", R"({"cmd":"true","argv":["true"]})", R"({"cmd":"true","env":{"LD_PRELOAD":"x"}})",
        R"({"cmd":"true","env":{"AGENTTASK_RUN_ID":"x"}})", R"({"cmd":"true","shell":"zsh"})"}) {
    const auto valid = worker->validate(command(data));
    EXPECT_FALSE(valid) << data;
  }
}

}  // namespace
}  // namespace agenttask::agent
