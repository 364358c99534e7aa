#include <fstream>
#include <optional>
#include <thread>

#include "agent/runner/spool.hpp"
#include "platform/os/host.hpp"
#include "platform/os/secure_file.hpp"
#include "tests/component/agent_runner/runner_fixture.hpp"
#include "tests/support/posix/emulator.hpp"

namespace agenttask::agent {
namespace {

class Ignore final : public os::ProcessObserver {
 public:
  explicit Ignore(Gate& gate) : gate_(gate) {}
  void started(std::int64_t) override { gate_.open(); }
  void output(os::OutputStream, std::string_view) override {}

 private:
  Gate& gate_;
};

/// What a kill -9 in the middle of a run leaves: a start without an end, the spool, and perhaps processes.
class RecoveryTest : public RunnerFixture {
 protected:
  StartedRun cut_off(const TaskSpec& what, const std::string& output) {
    const std::string id = create(what);
    auto answer = ledger_->start(id);
    EXPECT_TRUE(answer->run);
    EXPECT_TRUE(os::create_folder(options_.spool_folder, os::Readable::by_owner));
    auto out = *Spool::create(options_.spool_folder / (id + ".stdout"), 1000);
    auto err = *Spool::create(options_.spool_folder / (id + ".stderr"), 1000);
    out->append(output);
    err->append("e");
    open_ledger();
    return *answer->run;
  }
};

TEST_F(RecoveryTest, ARunThatWasCutOffIsInterruptedWithItsOutputSoFar) {
  const auto cut = cut_off(shell("echo never again"), "so far");
  const std::string id = cut.task.spec.id;
  run();
  const Task task = get(id);
  EXPECT_EQ(TaskStatus::failed, task.state.status);
  EXPECT_EQ(reason::kInterrupted, task.state.reason);
  EXPECT_EQ("so far", out(id));
  EXPECT_EQ("e", err(id));
  EXPECT_EQ(6, result(task)["data"]["stdoutBytes"].get<int>());
  EXPECT_EQ("interrupted", result(task)["error"]["code"].get<std::string>());
  EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
  ended(create(spec("echo")));
  EXPECT_EQ(1, get(id).state.run_count) << "never silently run again";
}

TEST_F(RecoveryTest, WhatIsLeftOfItIsStoppedFirst) {
  const auto cut = cut_off(shell("sleep 63"), "");
  Gate gate;
  Ignore observer(gate);
  os::ProcessSpec process;
  process.argv = {"/bin/sh", "-c", "sleep 63 & sleep 63"};
  process.run_id = cut.run_id;
  std::jthread left([&] { EXPECT_TRUE(supervisor_.run(process, {}, observer)); });
  gate.wait();
  const auto begin = std::chrono::steady_clock::now();
  run();
  left.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(8));
  EXPECT_EQ(reason::kInterrupted, get(cut.task.spec.id).state.reason);
}

TEST_F(RecoveryTest, ItRunsAgainWhereTheTaskAsksForIt) {
  TaskSpec what = shell("echo again");
  what.options.on_interrupt = OnInterrupt::rerun;
  const std::string id = cut_off(what, "first").task.spec.id;
  run();
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ(2, task.state.run_count);
  EXPECT_EQ("first", kept(id, OutputStream::standard_output, 1));
  EXPECT_EQ("again\n", kept(id, OutputStream::standard_output, 2));
}

TEST_F(RecoveryTest, WhatACrashAfterAnEndLeftIsRemoved) {
  const auto cut = cut_off(spec("echo"), "so far");
  for (const char* name : {"ended.stdout", "ended.stderr", "ended.processes"}) {
    std::ofstream(options_.spool_folder / name) << "x";
  }
  run();
  EXPECT_EQ("so far", out(cut.task.spec.id));
  EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
}

TEST_F(RecoveryTest, AProcessThatShedItsMarkIsStoppedAndARecordOfAnotherBootIsNot) {
  if (test::is_emulated()) GTEST_SKIP() << test::kEmulatedRecord;
  for (const bool this_boot : {true, false}) {
    ledger_options_.boot_id = this_boot ? os::boot_id() : "another-boot";
    open_ledger();
    const auto cut = cut_off(shell("sleep 64"), "");
    Gate gate;
    Ignore observer(gate);
    os::ProcessSpec process;
    process.argv = {"/bin/sleep", "64"};
    process.record = options_.spool_folder / (cut.task.spec.id + ".processes");
    std::stop_source stop;
    std::optional<os::ProcessOutcome> outcome;
    std::jthread left([&] { outcome = *supervisor_.run(process, stop.get_token(), observer); });
    gate.wait();
    run();
    EXPECT_EQ(reason::kInterrupted, get(cut.task.spec.id).state.reason);
    EXPECT_TRUE(result(get(cut.task.spec.id))["data"]["survivors"].empty());
    stop.request_stop();
    left.join();
    EXPECT_EQ(!this_boot, outcome->stopped) << "by us, and not by the recovery";
    runner_->stop();
    runner_.reset();
  }
}

TEST_F(RecoveryTest, OnAFullDiskItIsInterruptedWithoutItsOutput) {
  const std::string id = create(spec("echo"));
  ASSERT_TRUE(ledger_->start(id)->run);
  ASSERT_TRUE(os::create_folder(options_.spool_folder, os::Readable::by_owner));
  (*Spool::create(options_.spool_folder / (id + ".stdout"), 1 << 20))->append(std::string(800'000, 'x'));
  ledger_options_.max_page_count = ledger_->status()->file_bytes / 4096 + 20;
  open_ledger();
  options_.reserve_file = folder_.path() / "reserve";
  run();
  const Task task = get(id);
  EXPECT_EQ(reason::kInterrupted, task.state.reason);
  EXPECT_EQ(800'000, result(task)["data"]["outputDropped"].get<int>());
  EXPECT_TRUE(ledger_->kept_output(id, 1)->empty());
}

TEST_F(RecoveryTest, AProcessOfARunThatTheLedgerDoesNotKnowIsStoppedInItsOwnBoot) {
  if (test::is_emulated()) GTEST_SKIP() << test::kEmulatedRecord;
  for (const bool this_boot : {true, false}) {
    EXPECT_TRUE(os::create_folder(options_.spool_folder, os::Readable::by_owner));
    Gate gate;
    Ignore observer(gate);
    os::ProcessSpec process;
    process.argv = {"/bin/sleep", "66"};
    process.record = options_.spool_folder / "01a20346-b30a-728c-adba-6a648d309be6.processes";
    std::stop_source stop;
    std::optional<os::ProcessOutcome> outcome;
    std::jthread left([&] { outcome = *supervisor_.run(process, stop.get_token(), observer); });
    gate.wait();
    if (!this_boot) {
      std::filesystem::last_write_time(
          process.record, std::filesystem::file_time_type::clock::now() - std::chrono::years(50));
    }
    run();
    EXPECT_TRUE(std::filesystem::is_empty(options_.spool_folder));
    stop.request_stop();
    left.join();
    EXPECT_EQ(!this_boot, outcome->stopped) << "by us, and not by the recovery";
    runner_->stop();
    runner_.reset();
  }
}

TEST_F(RecoveryTest, WithoutASpoolItIsInterruptedAllTheSame) {
  const auto cut = cut_off(spec("echo"), "x");
  std::filesystem::remove_all(options_.spool_folder);
  run();
  EXPECT_EQ(reason::kInterrupted, get(cut.task.spec.id).state.reason);
  EXPECT_TRUE(ledger_->kept_output(cut.task.spec.id, 1)->empty());
}

}  // namespace
}  // namespace agenttask::agent
