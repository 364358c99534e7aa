#include <filesystem>

#include "tests/support/failing_sync.hpp"
#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

class FailingDiskTest : public LedgerFixture {
 protected:
  void TearDown() override { test::sync_fails = false; }
};

TEST_F(FailingDiskTest, AStartThatWasNotConfirmedAndIsThereAllTheSameIsNoObstacle) {
  meet_server();
  deliver(task(id(1)));
  // As a killed agent leaves its files: what comes next is written behind what the log holds already.
  const auto file = folder_.path() / "ledger.db";
  const auto crashed = folder_.path() / "crashed.db";
  for (const char* part : {"", "-wal"})
    std::filesystem::copy_file(file.string() + part, crashed.string() + part);
  subscription_.reset();
  ledger_.reset();

  test::sync_fails = true;
  ledger_ = Ledger::open_or_wait(crashed, clock_, options_);
  ASSERT_TRUE(ledger_->problem());
  EXPECT_EQ("io", ledger_->problem()->code) << ledger_->problem()->detail;
  EXPECT_FALSE(ledger_->try_again());

  // What was written before the disk refused to confirm it is found when the file is opened again.
  test::sync_fails = false;
  const auto opened = ledger_->try_again();
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_FALSE(ledger_->problem());
  start(id(1));
}

}  // namespace
}  // namespace agenttask::agent
