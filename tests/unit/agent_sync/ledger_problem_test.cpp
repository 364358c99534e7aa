#include <filesystem>
#include <fstream>

#include "tests/unit/agent_sync/sync_fixture.hpp"

// A device that can't use its ledger is connected all the same, and says so.
namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTask = "00000000-0000-7000-8000-000000000001";

class LedgerProblemTest : public SyncFixture {
 protected:
  [[nodiscard]] fs::path file() const { return folder.path() / "ledger.db"; }
  [[nodiscard]] fs::path good() const { return folder.path() / "good"; }

  /// The agent starts again, and finds something else than its ledger.
  void start_with_damage() {
    sync.reset();
    ledger.reset();
    fs::rename(file(), good());
    std::ofstream(file()) << std::string(9000, 'q');
    ledger = Ledger::open_or_wait(file(), clock);
    link.abandon(ServerCall::poll);
    sync = std::make_unique<Sync>(
        *ledger, link, IdentityFolder(folder.path()),
        [this](std::string_view task, std::int64_t after) { return follow(std::string(task), after); }, clock,
        log, options);
    step();
  }
  void mend() {
    fs::rename(good(), file());
    ASSERT_TRUE(ledger->try_again());
    step();
  }
};

TEST_F(LedgerProblemTest, ItIsToldInEachPollAndNothingElseIs) {
  be_connected();
  start_with_damage();
  ASSERT_TRUE(link.has(ServerCall::poll));
  PollRequest asked = poll();
  ASSERT_TRUE(asked.ledger);
  EXPECT_EQ("corrupt", asked.ledger->code);
  EXPECT_TRUE(asked.incarnation.empty());
  EXPECT_EQ("name-1", asked.name);
  EXPECT_EQ(0, asked.wait);
  answer_poll({task_line(1, kTask)});
  EXPECT_EQ(LinkState::connected, sync->status().state);
  EXPECT_EQ("corrupt", sync->status().last_error_code);
  EXPECT_NE(std::string::npos, sync->status().last_error.find("agenttaskd ledger salvage"));
  EXPECT_FALSE(link.has(ServerCall::reports));
  // The server holds the next ones, and one that it does not hold is not asked again in a circle.
  EXPECT_FALSE(link.has(ServerCall::poll));
  pass(std::chrono::milliseconds(1'500));
  asked = poll();
  EXPECT_TRUE(asked.ledger);
  EXPECT_EQ(limits::kWaitMost, asked.wait);
}

TEST_F(LedgerProblemTest, OnceItIsMendedTheNextPollGoesOnWhereTheLastWas) {
  be_connected();
  const Cursor before = poll().directives;
  start_with_damage();
  answer_poll();
  pass(std::chrono::milliseconds(1'500));
  ASSERT_TRUE(poll().ledger);
  mend();
  const PollRequest asked = poll();
  EXPECT_FALSE(asked.ledger);
  EXPECT_EQ(before, asked.directives);
  EXPECT_EQ(epoch, asked.epoch);
  EXPECT_FALSE(asked.incarnation.empty());
  EXPECT_EQ(1U, asked.predecessors.size());
  answer_poll({task_line(1, kTask)});
  EXPECT_TRUE(ledger->get(kTask));
  EXPECT_TRUE(sync->status().last_error.empty()) << sync->status().last_error;
}

TEST_F(LedgerProblemTest, AnAnswerThatCanNotBeStoredIsNotAcknowledged) {
  be_connected();
  const Cursor before = poll().directives;
  sync.reset();
  ledger.reset();
  LedgerOptions small;
  small.max_page_count = 60;
  ledger = *Ledger::open(file(), clock, small);
  link.abandon(ServerCall::poll);
  sync = std::make_unique<Sync>(
      *ledger, link, IdentityFolder(folder.path()),
      [this](std::string_view task, std::int64_t after) { return follow(std::string(task), after); }, clock,
      log, options);
  step();
  answer_poll();
  TaskDirective large;
  large.spec.id = kTask;
  large.spec.type = "echo";
  large.spec.data = R"({"message":")" + std::string(500'000, 'x') + R"("})";
  answer_poll({encode(Directive{1, large})});
  ASSERT_TRUE(ledger->problem());
  step();
  ASSERT_TRUE(link.has(ServerCall::poll));
  ASSERT_TRUE(poll().ledger);
  EXPECT_EQ("limit", poll().ledger->code);
  EXPECT_EQ(LinkState::connected, sync->status().state);
  ASSERT_TRUE(ledger->try_again());
  step();
  EXPECT_FALSE(poll().ledger);
  EXPECT_EQ(before, poll().directives);
}

}  // namespace
}  // namespace agenttask::agent
