#pragma once
#include <filesystem>
#include <memory>

#include <gtest/gtest.h>

#include "agent/ledger/ledger.hpp"
#include "agent/policy/policy.hpp"
#include "agent/runner/runner.hpp"
#include "agent/workers/builtin_workers.hpp"
#include "platform/os/process.hpp"
#include "platform/os/system_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {

/// What the console's calls act on: a real ledger and a runner that works, with echo and command.
class DeviceFixture : public testing::Test {
 protected:
  void SetUp() override {
    auto ledger = Ledger::open(folder_.path() / "ledger.db", clock_);
    ASSERT_TRUE(ledger) << ledger.error().message;
    ledger_ = std::move(*ledger);
    ASSERT_TRUE(workers_.add("echo", make_echo_worker()));
    ASSERT_TRUE(workers_.add("command", make_command_worker(supervisor_)));
    RunnerOptions options;
    options.spool_folder = folder_.path() / "spool";
    runner_ = std::make_unique<Runner>(*ledger_, workers_, policy_, supervisor_, clock_, log_, options);
    ASSERT_TRUE(runner_->start());
  }
  void TearDown() override {
    if (runner_) runner_->stop();
    runner_.reset();
  }

  test::TemporaryFolder folder_;
  os::SystemClock clock_;
  Logger log_{LogLevel::error, LogFormat::text};
  os::ProcessSupervisor supervisor_;
  WorkerRegistry workers_;
  Policy policy_{std::filesystem::path()};
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Runner> runner_;
};

}  // namespace agenttask::agent
