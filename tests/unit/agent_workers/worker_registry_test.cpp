#include <gtest/gtest.h>

#include "agent/workers/builtin_workers.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {
namespace {

Task command(const std::string& data) {
  Task task;
  task.spec.type = "command";
  task.spec.data = data;
  return task;
}

TEST(WorkerRegistry, ATypeHasOneWorker) {
  WorkerRegistry registry;
  EXPECT_EQ(nullptr, registry.find("echo"));
  EXPECT_TRUE(registry.add("echo", make_echo_worker()));
  const auto first = registry.find("echo");
  ASSERT_NE(nullptr, first);
  const auto second = registry.add("echo", make_echo_worker());
  ASSERT_FALSE(second);
  EXPECT_EQ(ErrorCode::conflict, second.error().code);
  EXPECT_EQ(first, registry.find("echo"));
  EXPECT_EQ(nullptr, registry.find("Echo"));
  EXPECT_EQ(std::vector<std::string>{"echo"}, registry.types());
}

TEST(WorkerRegistry, ExternalWorkersComeAndGoAndTheBuiltInStay) {
  WorkerRegistry registry;
  ASSERT_TRUE(registry.add("echo", make_echo_worker()));
  const auto built_in = registry.find("echo");
  const std::shared_ptr<const TaskWorker> other = make_echo_worker();
  registry.set_external({{"echo", other}, {"other", other}});
  EXPECT_EQ(built_in, registry.find("echo"));
  EXPECT_EQ(other, registry.find("other"));
  EXPECT_EQ((std::vector<std::string>{"echo", "other"}), registry.types());
  registry.set_external({});
  EXPECT_EQ(nullptr, registry.find("other"));
  EXPECT_EQ(built_in, registry.find("echo"));
}

TEST(WorkerRegistry, ServicesComeAndGoWithTheWorkers) {
  WorkerRegistry registry;
  EXPECT_TRUE(registry.services()->empty());
  const auto offered = std::make_shared<const WorkerServices>(WorkerServices{{"sum", nullptr}});
  registry.set_external({}, offered);
  const auto kept = registry.services();
  registry.set_external({});
  EXPECT_TRUE(registry.services()->empty());
  EXPECT_EQ(1u, kept->count("sum")) << "a run goes on with what it began with";
}

TEST(CommandWorker, RefusesBeforeAStartWhatCanNeverRun) {
  os::ProcessSupervisor supervisor;
  const auto worker = make_command_worker(supervisor);
  EXPECT_TRUE(worker->validate(command(R"({"cmd":"true"})"), {})->may_run);
  for (const char* data :
       {"{}", R"({"cmd":"true","argv":["true"]})", R"({"cmd":"true","env":{"LD_PRELOAD":"x"}})",
        R"({"cmd":"true","env":{"AGENTTASK_RUN_ID":"x"}})", R"({"cmd":"true","shell":"zsh"})"}) {
    const auto valid = worker->validate(command(data), {});
    EXPECT_FALSE(valid) << data;
  }
}

}  // namespace
}  // namespace agenttask::agent
