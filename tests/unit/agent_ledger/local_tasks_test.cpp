#include <algorithm>

#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

class LedgerLocal : public LedgerFixture {
 protected:
  std::vector<std::string> listed(const TaskFilter& filter) {
    std::vector<std::string> ids;
    const auto page = ledger_->list(filter, std::nullopt, 100);
    EXPECT_TRUE(page);
    for (const auto& task : page->tasks) ids.push_back(task.spec.id);
    return ids;
  }
};

TEST_F(LedgerLocal, CreateGivesAnIdAndKeepsEverything) {
  TaskSpec what = spec("command");
  what.description = "a \"description\" ☃";
  what.tags = {"a", "b c"};
  what.room_id = "room";
  what.world_id = "world";
  what.data = R"({"cmd":"true","n":9007199254740993})";
  what.metadata = R"({"k":[1,2]})";
  what.options = {1234, clock_.wall() + 5000, RetryPolicy{3, 10, 20}, OnInterrupt::rerun, 77, -3, "key"};
  what.schedule.scheduled_for = clock_.wall() + 1000;
  const auto created = *ledger_->create(what);
  EXPECT_FALSE(created.existed);
  what.id = created.task.spec.id;
  what.node_id = "";
  EXPECT_TRUE(is_uuid(what.id));
  reopen();
  const Task task = get(what.id);
  EXPECT_EQ(what, task.spec);
  EXPECT_EQ(TaskStatus::sent, task.state.status);
  EXPECT_EQ(clock_.wall(), task.state.add_time);
  EXPECT_EQ(reason::kNotDue, task.state.reason);
  EXPECT_EQ(what.schedule.scheduled_for, task.state.next_run_at);
  EXPECT_EQ(created.task, task);
}

TEST_F(LedgerLocal, TheSameIdIsTheSameTaskOrAConflict) {
  TaskSpec what = spec();
  what.id = "ABCDEF00-0000-4000-8000-00000000000A";
  const auto first = *ledger_->create(what);
  EXPECT_EQ(normalize_uuid(what.id), first.task.spec.id);
  EXPECT_TRUE(ledger_->create(what)->existed);
  what.data = R"({"message":"other"})";
  const auto other = ledger_->create(what);
  ASSERT_FALSE(other);
  EXPECT_EQ(ErrorCode::conflict, other.error().code);
  EXPECT_EQ(R"({"message":"hello"})", get(first.task.spec.id).spec.data);
  what.id = "nonsense";
  EXPECT_EQ(ErrorCode::invalid, ledger_->create(what).error().code);
}

TEST_F(LedgerLocal, APurgedTaskCannotRunAgain) {
  meet_server();
  TaskSpec what = spec();
  what.id = id(1);
  create(what);
  const Task ended = end(id(1), start(id(1)).number, success());
  acknowledge_all();
  EXPECT_EQ(0, ledger_->purge(10)->tasks);
  clock_.advance(std::chrono::milliseconds(options_.retention));
  EXPECT_EQ(0, ledger_->purge(10)->tasks);
  clock_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(1, ledger_->purge(10)->tasks);
  EXPECT_EQ(ErrorCode::not_found, ledger_->get(id(1)).error().code);
  // The same request: what is left of the truth. Another one: a conflict. From the server: told again.
  const auto again = ledger_->create(what);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(TaskStatus::complete, again->task.state.status);
  EXPECT_EQ(ended.state.end_time, again->task.state.end_time);
  TaskSpec other = what;
  other.data = R"({"message":"another"})";
  EXPECT_EQ(ErrorCode::conflict, ledger_->create(other).error().code);
  acknowledge_all();
  deliver(task(id(1), what));
  const auto told = reports_of<EndedReport>();
  ASSERT_EQ(1U, told.size());
  EXPECT_EQ(TaskStatus::complete, told[0].state.status);
  ASSERT_TRUE(ledger_->advance_time(clock_.wall()));
  EXPECT_TRUE(ready_ids().empty()) << "it never runs again";
  // Cancelled before it came: nobody knows what it was.
  deliver(CancelDirective{id(2)});
  what.id = id(2);
  EXPECT_EQ(ErrorCode::conflict, ledger_->create(what).error().code);
}

TEST_F(LedgerLocal, CreateIsReportedWhole) {
  meet_server();
  const std::string id = create();
  const auto created = reports_of<CreatedReport>();
  ASSERT_EQ(1U, created.size());
  EXPECT_FALSE(created[0].snapshot);
  EXPECT_EQ(get(id), created[0].task);
  EXPECT_TRUE(changes_.back().work);
  EXPECT_TRUE(changes_.back().reports);
}

TEST_F(LedgerLocal, UpdateMergesMetadataAndMovesOn) {
  TaskSpec what = spec();
  what.metadata = R"({"a":1,"b":2})";
  what.description = "stays";
  const std::string id = create(what);
  const auto before = get(id).state.updated_at;
  const auto updated = ledger_->update(id, R"({"metadata":{"a":null,"c":3}})");
  ASSERT_TRUE(updated) << updated.error().message;
  EXPECT_EQ(R"({"b":2,"c":3})", updated->spec.metadata);
  EXPECT_EQ("stays", updated->spec.description);
  EXPECT_GT(updated->state.updated_at, before) << "also within one millisecond";
  EXPECT_EQ(*updated, get(id));
  EXPECT_EQ(ErrorCode::not_found, ledger_->update(LedgerFixture::id(9), "{}").error().code);
  EXPECT_EQ("colour", ledger_->update(id, R"({"colour":1})").error().field);
  EXPECT_FALSE(ledger_->update(id, "nonsense"));
  ASSERT_TRUE(ledger_->cancel(id));
  EXPECT_EQ(ErrorCode::conflict, ledger_->update(id, R"({"tags":[]})").error().code);
}

TEST_F(LedgerLocal, OnlyTheNewTimeCountsAfterAnUpdate) {
  TaskSpec what = spec();
  what.schedule.scheduled_for = clock_.wall() + 1000;
  const std::string id = create(what);
  const auto later = clock_.wall() + 5000;
  ASSERT_TRUE(ledger_->update(id, R"({"schedule":{"scheduledFor":)" + std::to_string(later) + "}}"));
  clock_.advance(std::chrono::seconds(2));
  ASSERT_TRUE(ledger_->advance_time(clock_.wall()));
  EXPECT_TRUE(ready_ids().empty());
  EXPECT_EQ(later, ledger_->times("")->due);
  ASSERT_TRUE(ledger_->update(id, R"({"schedule":{"scheduledFor":1}})"));
  EXPECT_EQ(std::vector{id}, ready_ids());
}

TEST_F(LedgerLocal, ListFiltersTogetherAndPages) {
  TaskSpec what = spec();
  what.tags = {"red", "big"};
  what.room_id = "r1";
  const std::string first = create(what);
  what.tags = {"red"};
  what.world_id = "w1";
  const std::string second = create(what);
  const std::string third = create(spec("command"));
  EXPECT_EQ((std::vector{third, second, first}), listed({}));
  EXPECT_EQ((std::vector{second, first}), listed({"echo", {}, {}, "", ""}));
  EXPECT_EQ((std::vector{second, first}), listed({"", {}, {"red"}, "", ""}));
  EXPECT_EQ((std::vector{first}), listed({"", {}, {"red", "big"}, "", ""}));
  EXPECT_EQ((std::vector{second}), listed({"", {}, {"red"}, "r1", "w1"}));
  for (const char* unknown : {"re", "Red", "red big", "none"})
    EXPECT_TRUE(listed({"", {}, {unknown}, "", ""}).empty());
  EXPECT_TRUE(listed({"nothing", {}, {}, "", ""}).empty());
  EXPECT_TRUE(listed({"", {}, {}, "r2", ""}).empty());
  ASSERT_TRUE(ledger_->cancel(second));
  EXPECT_EQ((std::vector{second}), listed({"", TaskStatus::cancelled, {}, "", ""}));
  EXPECT_TRUE(listed({"", TaskStatus::running, {}, "", ""}).empty());

  const auto page = *ledger_->list({}, std::nullopt, 2);
  ASSERT_EQ(2U, page.tasks.size());
  ASSERT_TRUE(page.next_cursor);
  create();
  const auto next = *ledger_->list({}, page.next_cursor, 2);
  ASSERT_EQ(1U, next.tasks.size());
  EXPECT_EQ(first, next.tasks[0].spec.id) << "stable while others are added";
  EXPECT_FALSE(next.next_cursor);
}

TEST_F(LedgerLocal, ADeletedTaskIsReadableButNotListed) {
  const std::string id = create();
  const auto removed = *ledger_->remove(id);
  EXPECT_EQ(TaskStatus::cancelled, removed.task.state.status);
  EXPECT_FALSE(removed.stopping);
  EXPECT_TRUE(get(id).state.deleted_at);
  EXPECT_TRUE(listed({}).empty());
  EXPECT_EQ(ErrorCode::not_found, ledger_->remove(LedgerFixture::id(9)).error().code);
}

TEST_F(LedgerLocal, CancelSaysWhatIsTrue) {
  const std::string waiting = create();
  EXPECT_FALSE(ledger_->cancel(waiting)->stopping);
  const std::string running = create();
  const auto run = start(running);
  const auto cancelled = *ledger_->cancel(running);
  EXPECT_TRUE(cancelled.stopping);
  EXPECT_EQ(TaskStatus::running, cancelled.task.state.status);
  EXPECT_TRUE(ledger_->cancel(running)->stopping) << "asking again is allowed";
  EXPECT_EQ(TaskStatus::cancelled,
            end(running, run.number, {RunStatus::cancelled, "", "", "{}"}).state.status);
  EXPECT_FALSE(ledger_->cancel(running)->stopping);
  EXPECT_EQ(TaskStatus::cancelled, ledger_->cancel(running)->task.state.status);
  EXPECT_EQ(ErrorCode::not_found, ledger_->cancel(LedgerFixture::id(9)).error().code);
}

TEST_F(LedgerLocal, IdsMayBeShortenedToAUniqueEnd) {
  EXPECT_EQ(ErrorCode::not_found, ledger_->resolve("@last").error().code);
  for (const char* text : {"11110000-0000-4000-8000-000000abcdef", "22220000-0000-4000-8000-000000fbcdef"}) {
    TaskSpec what = spec();
    what.id = text;
    create(what);
  }
  EXPECT_EQ("11110000-0000-4000-8000-000000abcdef", *ledger_->resolve("ABCDEF"));
  EXPECT_EQ("22220000-0000-4000-8000-000000fbcdef", *ledger_->resolve("@last"));
  const auto ambiguous = ledger_->resolve("bcdef");
  ASSERT_FALSE(ambiguous);
  EXPECT_EQ(ErrorCode::conflict, ambiguous.error().code);
  EXPECT_NE(std::string::npos, ambiguous.error().message.find("22220000-0000-4000-8000-000000fbcdef"));
  EXPECT_EQ(ErrorCode::not_found, ledger_->resolve("9999").error().code);
  EXPECT_EQ(ErrorCode::invalid, ledger_->resolve("def").error().code);
  EXPECT_EQ(ErrorCode::invalid, ledger_->resolve("%%%%").error().code);
  reopen();
  EXPECT_EQ("22220000-0000-4000-8000-000000fbcdef", *ledger_->resolve("@last"));
}

TEST_F(LedgerLocal, StatusCounts) {
  create();
  const std::string running = create();
  start(running);
  ASSERT_TRUE(ledger_->cancel(create()));
  const auto status = *ledger_->status();
  EXPECT_EQ(1, status.tasks.at(TaskStatus::sent));
  EXPECT_EQ(1, status.tasks.at(TaskStatus::running));
  EXPECT_EQ(1, status.tasks.at(TaskStatus::cancelled));
  EXPECT_GT(status.file_bytes, 0);
}

TEST_F(LedgerLocal, ListenersHearOfItAndMayAsk) {
  std::string seen;
  auto subscription = ledger_->subscribe([&](const LedgerChange& change) {
    if (!change.tasks.empty()) seen = get(change.tasks.front()).spec.id;
  });
  const std::string first = create();
  EXPECT_EQ(first, seen);
  subscription.reset();
  create();
  EXPECT_EQ(first, seen);
}

TEST_F(LedgerLocal, OneLedgerIsHeldByOneAgent) {
  const auto second = Ledger::open(folder_.path() / "ledger.db", clock_, options_);
  ASSERT_FALSE(second);
  EXPECT_EQ(ErrorCode::unavailable, second.error().code);
}

}  // namespace
}  // namespace agenttask::agent
