#include "tests/unit/agent_ledger/ledger_fixture.hpp"

// What a run asks for, and messages: acceptance B4, F1, J4.
namespace agenttask::agent {
namespace {

class Wishes : public LedgerFixture {
 protected:
  static RoomMessage message(const std::string& text, const std::string& room = "room") {
    return {make_uuid(1), "", room, "", id(1), 1, R"({"text":")" + text + R"("})", 5};
  }
  TaskSpec step(int number, const std::string& type = "NEXT_STEP") {
    TaskSpec what = spec(type);
    what.id = id(number);
    return what;
  }
  static RunOutcome with(std::vector<Wish> wishes, RunOutcome outcome = success()) {
    outcome.wishes = std::move(wishes);
    return outcome;
  }
};

TEST_F(Wishes, AreGrantedWithASuccessfulEnd) {
  meet_server();
  deliver(task(id(1)), task(id(5)), task(id(6)));
  const auto run = start(id(1));
  end(id(1), run.number,
      with({CreateWish{step(2)}, UpdateWish{id(2), R"({"description":"later"})"},
            UpdateWish{id(5), R"({"metadata":{"k":1}})"}, DeleteWish{id(6)}, MessageWish{message("hello")}}));
  EXPECT_EQ(get(id(2)).spec.description, "later");
  EXPECT_EQ(get(id(2)).spec.type, "NEXT_STEP");
  EXPECT_EQ(get(id(5)).spec.metadata, R"({"k":1})");
  EXPECT_EQ(get(id(6)).state.status, TaskStatus::cancelled);
  EXPECT_TRUE(get(id(6)).state.deleted_at.has_value());
  ASSERT_EQ(ledger_->messages("room", 10)->size(), 1U);
  EXPECT_EQ(reports_of<CreatedReport>().size(), 1U);
  EXPECT_EQ(reports_of<MessageReport>().size(), 1U);
  EXPECT_EQ(ledger_->messages("", 10)->front().node_id, "node-1");
}

TEST_F(Wishes, AreDroppedWithAnyOtherEnd) {
  for (const auto& outcome : {failure(reason::kWorkerError), failure(reason::kInterrupted),
                              RunOutcome{RunStatus::cancelled, "", "", "{}"}}) {
    const std::string task = create();
    end(task, start(task).number, with({CreateWish{step(2)}, MessageWish{message("no")}}, outcome));
    EXPECT_FALSE(ledger_->get(id(2)));
    EXPECT_TRUE(ledger_->messages("", 10)->empty());
  }
}

TEST_F(Wishes, AreAllThereOrNoneWhenTheDiskIsFull) {
  const std::string task = create();
  const auto run = start(task);
  std::vector<Wish> wishes;
  for (int i = 2; i < 200; ++i) {
    TaskSpec what = step(i);
    what.data = R"({"filler":")" + std::string(10'000, 'x') + R"("})";
    wishes.emplace_back(CreateWish{std::move(what)});
  }
  ledger_.reset();
  options_.max_page_count = 60;
  reopen();
  const auto ended = ledger_->end(task, run.number, with(wishes));
  EXPECT_FALSE(ended);
  EXPECT_FALSE(ledger_->get(id(2)));
  EXPECT_EQ(get(task).state.status, TaskStatus::running);
  options_.max_page_count.reset();
  reopen();
  EXPECT_TRUE(ledger_->end(task, run.number, with(wishes)));
  EXPECT_TRUE(ledger_->get(id(199)));
}

TEST_F(Wishes, AboutWhatHasEndedMeanwhileAreSkippedAndNoted) {
  const std::string own = create();
  const std::string other = create();
  const auto run = start(own);
  ASSERT_TRUE(ledger_->cancel(other));
  const auto ended =
      end(own, run.number,
          with({UpdateWish{other, R"({"description":"x"})"}, UpdateWish{id(9), R"({"description":"x"})"},
                DeleteWish{id(9)}, CreateWish{[&] {
                  TaskSpec taken = step(1);
                  taken.id = other;
                  return taken;
                }()},
                MessageWish{message("the rest happens")}}));
  EXPECT_EQ(ended.state.status, TaskStatus::complete);
  EXPECT_NE(ended.state.result.find("\"notes\":["), std::string::npos) << ended.state.result;
  EXPECT_EQ(ledger_->messages("", 10)->size(), 1U);
}

TEST_F(Wishes, AWorkerMayDeleteItsOwnTask) {  // B4
  const std::string once = create();
  auto ended = end(once, start(once).number, with({DeleteWish{once}}));
  EXPECT_EQ(ended.state.status, TaskStatus::complete);
  EXPECT_TRUE(ended.state.deleted_at.has_value());
  EXPECT_EQ(ledger_->runs(once)->size(), 1U);
  TaskSpec every = spec();
  every.schedule.update_interval = 1000;
  const std::string recurring = create(every);
  ended = end(recurring, start(recurring).number, with({DeleteWish{recurring}}));
  EXPECT_EQ(ended.state.status, TaskStatus::complete);
  clock_.advance(std::chrono::hours(1));
  ASSERT_TRUE(ledger_->advance_time(clock_.wall()));
  EXPECT_TRUE(ready_ids().empty());
}

TEST_F(Wishes, AWorkerMayPutOffItsOwnSchedule) {
  TaskSpec every = spec();
  every.schedule.update_interval = 1000;
  const std::string task = create(every);
  const auto ended =
      end(task, start(task).number, with({UpdateWish{task, R"({"schedule":{"updateInterval":60000}})"}}));
  EXPECT_EQ(ended.state.next_run_at, clock_.wall() + 60'000);
}

TEST_F(Wishes, MessagesComeOncePerRunInTheRoomsOrder) {  // J4
  for (int i = 0; i < 3; ++i) {
    const std::string task = create();
    end(task, start(task).number,
        with({MessageWish{message(std::to_string(i))}, MessageWish{message("x", "other")}}));
  }
  const auto messages = *ledger_->messages("room", 10);
  ASSERT_EQ(messages.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(messages[i].content, R"({"text":")" + std::to_string(i) + R"("})");
  EXPECT_EQ(ledger_->messages("room", 2)->front().content, R"({"text":"1"})") << "the newest, oldest first";
  // A server that comes later hears them all, also one that comes after it.
  meet_server(1);
  EXPECT_EQ(reports_of<MessageReport>().size(), 6U);
  acknowledge_all();
  meet_server(2);
  EXPECT_EQ(reports_of<MessageReport>().size(), 6U);
}

TEST_F(Wishes, MessagesAreKeptUntilTheServerHasThem) {
  options_.keep_messages = 2;
  reopen();
  meet_server();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(ledger_->post(message("m")));
  ASSERT_TRUE(ledger_->purge(100));
  EXPECT_EQ(ledger_->messages("", 10)->size(), 5U);
  acknowledge_all();
  ASSERT_TRUE(ledger_->purge(100));
  EXPECT_EQ(ledger_->messages("", 10)->size(), 2U);
}

TEST_F(Wishes, ProgressIsTheDetailWhileItRuns) {
  meet_server();
  deliver(task(id(1)));
  const auto run = start(id(1));
  acknowledge_all();
  ASSERT_TRUE(ledger_->progress(id(1), run.number, "half way"));
  EXPECT_EQ(get(id(1)).state.detail, "half way");
  EXPECT_EQ(reports_of<ChangedReport>().back().task.state.detail, "half way");
  EXPECT_EQ(end(id(1), run.number, success()).state.detail, "");
  ASSERT_TRUE(ledger_->progress(id(1), run.number, "too late"));
  EXPECT_EQ(get(id(1)).state.detail, "");
}

TEST_F(Wishes, AWorkerThatAppearsBringsItsTasksBack) {  // B2
  const std::string task = create(spec("later"));
  const std::vector<std::string> ids{task};
  ASSERT_TRUE(ledger_->park(ids, reason::kNoWorker, "none"));
  EXPECT_TRUE(ready_ids().empty());
  const std::vector<std::string> types{"other", "later"};
  ASSERT_TRUE(ledger_->workers_changed(types));
  EXPECT_EQ(ready_ids(), ids);
  EXPECT_EQ(get(task).state.run_count, 0);
}

}  // namespace
}  // namespace agenttask::agent
