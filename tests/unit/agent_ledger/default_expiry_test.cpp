#include "platform/protocol/task_request.hpp"
#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// The expiry that a server wrote because nobody wished one moves with the schedule, whoever changes that.
namespace agenttask::agent {
namespace {

using namespace std::chrono_literals;

class DefaultExpiry : public LedgerFixture {
 protected:
  DefaultExpiry() {
    meet_server();
    TaskSpec what = spec();
    what.options.expires_at = default_expiry(what.schedule, clock_.wall());
    deliver(task(id(1), what));
  }
  void let_days_pass(int days) {
    clock_.advance(24h * days);
    for (bool more = true; more;) {
      const auto advanced = ledger_->advance_time(clock_.wall());
      ASSERT_TRUE(advanced);
      more = *advanced;
    }
  }
};

TEST_F(DefaultExpiry, ATaskThatIsPutOffByItsServerIsNotOverBeforeItIsDue) {
  const auto due = clock_.wall() + 60 * limits::kDay;
  const std::string changes = R"({"schedule":{"scheduledFor":)" + std::to_string(due) + "}}";
  EXPECT_EQ(0, deliver(UpdateDirective{id(1), changes}).refused);
  EXPECT_EQ(due + limits::kDefaultExpiry, get(id(1)).spec.options.expires_at);
  EXPECT_EQ(due + limits::kDefaultExpiry, reports_of<ChangedReport>().back().task.spec.options.expires_at);
  let_days_pass(31);
  EXPECT_EQ(TaskStatus::sent, get(id(1)).state.status);
  let_days_pass(60);
  EXPECT_EQ(reason::kExpired, get(id(1)).state.reason);
}

TEST_F(DefaultExpiry, ATaskThatSomebodyAtTheDeviceLetsRecurGoesOn) {
  ASSERT_TRUE(ledger_->update(id(1), R"({"schedule":{"updateInterval":86400000}})"));
  EXPECT_FALSE(get(id(1)).spec.options.expires_at);
  let_days_pass(31);
  EXPECT_EQ(TaskStatus::sent, get(id(1)).state.status);
}

TEST_F(DefaultExpiry, WhatSomebodyWishedStays) {
  const auto wished = clock_.wall() + 5 * limits::kDay;
  ASSERT_TRUE(ledger_->update(id(1), R"({"options":{"expiresAt":)" + std::to_string(wished) + "}}"));
  ASSERT_TRUE(ledger_->update(id(1), R"({"schedule":{"updateInterval":86400000}})"));
  EXPECT_EQ(wished, get(id(1)).spec.options.expires_at);
}

}  // namespace
}  // namespace agenttask::agent
