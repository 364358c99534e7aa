#include <thread>

#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// Questions, by the injected clock: acceptance E1 to E4.
namespace agenttask::agent {
namespace {

using namespace std::chrono_literals;

class Choices : public LedgerFixture {
 protected:
  TaskSpec question(std::optional<std::chrono::milliseconds> expires = std::nullopt,
                    const std::string& fallback = "") {
    TaskSpec what = spec("CONFIRM_ACTION");
    what.choices = {{"confirm", "Proceed"}, {"cancel", "Leave it"}};
    if (expires) what.choice_expires_at = clock_.wall() + expires->count();
    what.default_choice = fallback;
    return what;
  }
  std::vector<std::string> look() {
    for (bool more = true; more;) {
      const auto advanced = ledger_->advance_time(clock_.wall());
      EXPECT_TRUE(advanced);
      more = advanced && *advanced;
    }
    return ready_ids();
  }
};

TEST_F(Choices, AreNeverMadeByTheScheduler) {  // E1
  const std::string task = create(question());
  clock_.advance(1000h);
  EXPECT_TRUE(look().empty());
  EXPECT_FALSE(ledger_->start(task)->run);
  const Task waits = get(task);
  EXPECT_EQ(waits.state.status, TaskStatus::awaiting_choice);
  EXPECT_NE(waits.state.detail.find("confirm, cancel"), std::string::npos) << waits.state.detail;
}

TEST_F(Choices, RunTheTaskOnceWithTheOption) {  // E2
  const std::string task = create(question());
  const auto chosen = ledger_->choose(task, "confirm", "user:ann");
  ASSERT_TRUE(chosen) << chosen.error().message;
  EXPECT_EQ(chosen->state.chosen, (ChoiceMade{"confirm", "user:ann", clock_.wall()}));
  EXPECT_EQ(look(), std::vector<std::string>{task});
  const auto started = start(task);
  EXPECT_EQ(started.task.state.chosen->option, "confirm");
  end(task, started.number, success());
  EXPECT_EQ(ledger_->runs(task)->front().option, "confirm");
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(get(task).state.chosen->by, "user:ann");
}

TEST_F(Choices, AreRefusedWithTheValidNames) {  // E2
  const std::string task = create(question());
  for (const char* name : {"Confirm", "", "confirm ", "yes"}) {
    const auto refused = ledger_->choose(task, name, "user:ann");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::invalid);
    EXPECT_EQ(refused.error().field, "option");
    EXPECT_NE(refused.error().message.find("confirm, cancel"), std::string::npos);
  }
  EXPECT_EQ(get(task).state.status, TaskStatus::awaiting_choice);
  const auto nothing_asked = ledger_->choose(create(), "confirm", "user:ann");
  EXPECT_EQ(nothing_asked.error().code, ErrorCode::conflict);
}

TEST_F(Choices, HaveOneWinnerOfTwenty) {  // E3
  meet_server();
  deliver(task(id(1), question()));
  std::atomic<int> won = 0;
  std::vector<std::jthread> people;
  for (int i = 0; i < 20; ++i) {
    people.emplace_back([&, i] {
      const auto chosen =
          ledger_->choose(id(1), i % 2 == 0 ? "confirm" : "cancel", "user:" + std::to_string(i));
      if (chosen) {
        ++won;
      } else {
        EXPECT_EQ(chosen.error().code, ErrorCode::conflict);
        EXPECT_NE(chosen.error().message.find("user:"), std::string::npos) << "it names the winner";
      }
    });
  }
  people.clear();
  EXPECT_EQ(won, 1);
  const auto told = reports_of<ChosenReport>();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].state.chosen, get(id(1)).state.chosen);
  // An operator's answer that comes later is refused, and says so.
  deliver(ChooseDirective{id(1), {"confirm", "operator:bob", 1}});
  EXPECT_EQ(reports_of<RefusedReport>().back().code, "already-chosen");
}

TEST_F(Choices, OfAnOperatorArriveOverTheStream) {
  meet_server();
  deliver(task(id(1), question()), ChooseDirective{id(1), {"cancel", "operator:bob", 1}});
  EXPECT_EQ(get(id(1)).state.chosen->by, "operator:bob");
  EXPECT_EQ(look(), std::vector<std::string>{id(1)});
  deliver(task(id(2), question()), ChooseDirective{id(2), {"maybe", "operator:bob", 1}},
          ChooseDirective{id(3), {"cancel", "operator:bob", 1}});
  const auto refused = reports_of<RefusedReport>();
  ASSERT_EQ(refused.size(), 2U);
  EXPECT_EQ(refused[0].code, "invalid");
  EXPECT_EQ(refused[1].code, "not-found");
}

TEST_F(Choices, ExpireWithTheirDefaultOnceAlsoAfterARestart) {  // E4
  const std::string task = create(question(60s, "cancel"));
  clock_.advance(59'999ms);
  EXPECT_TRUE(look().empty());
  ledger_.reset();
  clock_.advance(1h);
  reopen();
  EXPECT_EQ(look(), std::vector<std::string>{task});
  EXPECT_EQ(get(task).state.chosen->option, "cancel");
  EXPECT_EQ(get(task).state.chosen->by, "default");
  end(task, start(task).number, success());
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(ledger_->choose(task, "confirm", "user:late").error().code, ErrorCode::conflict);
}

TEST_F(Choices, ExpireAsFailedWithoutADefault) {  // E4
  const std::string task = create(question(60s));
  EXPECT_EQ(ledger_->times("")->expires, clock_.wall() + 60'000);
  clock_.advance(60s);
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(get(task).state.status, TaskStatus::failed);
  EXPECT_EQ(get(task).state.reason, reason::kExpired);
}

TEST_F(Choices, ComeAfterTheSchedule) {
  TaskSpec what = question();
  what.schedule.scheduled_for = clock_.wall() + 60'000;
  const std::string task = create(what);
  EXPECT_EQ(get(task).state.status, TaskStatus::sent);
  EXPECT_EQ(ledger_->choose(task, "confirm", "user:early").error().code, ErrorCode::conflict);
  clock_.advance(60s);
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(get(task).state.status, TaskStatus::awaiting_choice);
}

TEST_F(Choices, AreAskedForEachOccurrence) {
  meet_server();
  TaskSpec what = question(30s);
  what.schedule.update_interval = 60'000;
  deliver(task(id(1), what));
  EXPECT_EQ(get(id(1)).state.occurrence, 1);
  ASSERT_TRUE(ledger_->choose(id(1), "confirm", "user:ann"));
  end(id(1), start(id(1)).number, success());
  EXPECT_EQ(get(id(1)).state.reason, reason::kNotDue);
  clock_.advance(60s);
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(get(id(1)).state.status, TaskStatus::awaiting_choice);
  EXPECT_EQ(get(id(1)).state.occurrence, 2);
  EXPECT_FALSE(get(id(1)).state.chosen.has_value());
  // An answer to the first question is not one to the second.
  deliver(ChooseDirective{id(1), {"cancel", "operator:bob", 1}, 1});
  EXPECT_EQ(get(id(1)).state.status, TaskStatus::awaiting_choice);
  // Nobody answers the second: it is missed, and the schedule goes on.
  clock_.advance(30s);
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(get(id(1)).state.status, TaskStatus::sent);
  EXPECT_EQ(get(id(1)).state.missed_count, 1);
  clock_.advance(30s);
  look();
  EXPECT_EQ(get(id(1)).state.occurrence, 3);
}

TEST_F(Choices, WaitWhileTheTaskIsPaused) {
  const std::string task = create(question());
  ASSERT_TRUE(ledger_->pause(task));
  EXPECT_EQ(get(task).state.status, TaskStatus::awaiting_choice);
  ASSERT_TRUE(ledger_->choose(task, "confirm", "user:ann"));
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(get(task).state.reason, reason::kPaused);
  ASSERT_TRUE(ledger_->resume(task));
  EXPECT_EQ(look(), std::vector<std::string>{task});
}

TEST_F(Choices, SurviveARestartAndASnapshot) {
  const std::string task = create(question(60s, "cancel"));
  reopen();
  EXPECT_EQ(get(task).spec.choices, question().choices);
  ASSERT_TRUE(ledger_->choose(task, "confirm", "user:ann"));
  meet_server();
  const auto created = reports_of<CreatedReport>();
  ASSERT_EQ(created.size(), 1U);
  EXPECT_EQ(created[0].task, get(task));
}

}  // namespace
}  // namespace agenttask::agent
