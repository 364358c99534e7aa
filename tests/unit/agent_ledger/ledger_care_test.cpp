#include "agent/ledger/ledger_care.hpp"

#include <filesystem>
#include <fstream>

#include "agent/ledger/ledger_file.hpp"
#include "agent/ledger/schema.hpp"
#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

class LedgerCareTest : public LedgerFixture {
 protected:
  [[nodiscard]] fs::path file() const { return folder_.path() / "ledger.db"; }
  [[nodiscard]] fs::path spool() const { return folder_.path() / "spool"; }
  void close() {
    subscription_.reset();
    ledger_.reset();
  }
  /// Changes the file behind the ledger's back, as a damage does.
  void tamper(const std::string& sql) {
    auto database = storage::Database::open(file(), ledger_schema());
    ASSERT_TRUE(database);
    database->execute_script("PRAGMA foreign_keys = OFF; " + sql);
    ASSERT_TRUE(database->check());
  }
  SalvageReport salvage() {
    auto saved = salvage_ledger(file(), spool(), clock_, options_.boot_id);
    EXPECT_TRUE(saved) << saved.error().message;
    return saved ? *std::move(saved) : SalvageReport{};
  }
  /// The leaf pages of a table or an index: a damage there hits rows, and not what leads to them.
  std::vector<std::int64_t> pages_of(const std::string& name) {
    std::vector<std::int64_t> pages;
    auto database = storage::Database::open(file(), ledger_schema());
    EXPECT_TRUE(database);
    auto row = database->query(
        "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY pageno", {name});
    while (row.step()) pages.push_back(row.integer(0));
    return pages;
  }
  void damage(std::int64_t page) {
    constexpr std::int64_t kPage = 4096;
    std::fstream stream(file(), std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp((page - 1) * kPage);
    stream << std::string(kPage, '\xee');
    ASSERT_TRUE(stream.good());
  }
  /// Tasks that wait, with words enough for several pages.
  void deliver_many(int count) {
    TaskSpec large = spec();
    large.description = std::string(900, 'd');
    meet_server();
    for (int number = 1; number <= count; ++number) deliver(task(id(number), large));
  }
  std::vector<std::string> findings() {
    const auto report = check_ledger(file());
    EXPECT_TRUE(report) << report.error().message;
    return report ? report->findings : std::vector<std::string>{"no report"};
  }
};

TEST_F(LedgerCareTest, ALedgerThatWasUsedIsSound) {
  meet_server();
  deliver(task(id(1)), task(id(2)), task(id(3)));
  acknowledge_all();
  start(id(1));
  end(id(1), 1, success(), chunks({{OutputStream::standard_output, 0, "some output"}}));
  start(id(2));
  ASSERT_TRUE(ledger_->cancel(id(3)));
  create();
  const auto held = check_ledger(file());
  ASSERT_FALSE(held);
  EXPECT_EQ(ErrorCode::conflict, held.error().code) << held.error().message;
  close();
  const auto report = check_ledger(file());
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->findings.empty()) << report->findings.front();
  EXPECT_EQ(4, report->tasks);
  EXPECT_EQ(2, report->runs);
  EXPECT_EQ(report->known_version, report->version);
  EXPECT_GT(report->outbox_reports, 0);
}

TEST_F(LedgerCareTest, EachBrokenRuleIsFound) {
  meet_server();
  deliver(task(id(1)));
  start(id(1));
  create();
  close();
  const std::string good =
      std::string(std::istreambuf_iterator<char>(std::ifstream(file(), std::ios::binary).rdbuf()), {});
  for (const char* harm :
       {"DELETE FROM runs", "UPDATE tasks SET status = 'sent', queue = 1 WHERE status = 'running'",
        "DELETE FROM inputs", "UPDATE runs SET end_time = 5", "UPDATE tasks SET end_time = 7 WHERE queue = 1",
        "UPDATE tasks SET queue = NULL", "UPDATE outbox SET line = '{}' WHERE sequence = 2",
        "DELETE FROM outbox WHERE sequence = (SELECT max(sequence) FROM outbox)",
        "UPDATE stream SET outbox_bytes = 1", "UPDATE stream SET output_bytes = 99", "DELETE FROM stream",
        "UPDATE runs SET number = 9"}) {
    std::ofstream(file(), std::ios::binary) << good;
    tamper(harm);
    EXPECT_FALSE(findings().empty()) << harm;
  }
}

TEST_F(LedgerCareTest, ALedgerThatCanNotBeOpenedIsWaitedFor) {
  meet_server();
  deliver(task(id(1)));
  close();
  fs::rename(file(), folder_.path() / "good");
  std::ofstream(file()) << std::string(9000, 'q');
  ledger_ = Ledger::open_or_wait(file(), clock_, options_);
  subscription_ = ledger_->subscribe([this](const LedgerChange& change) { changes_.push_back(change); });
  const auto problem = ledger_->problem();
  ASSERT_TRUE(problem);
  EXPECT_EQ("corrupt", problem->code);
  EXPECT_NE(std::string::npos, problem->detail.find("agenttaskd ledger salvage")) << problem->detail;
  EXPECT_FALSE(ledger_->create(spec()));
  EXPECT_FALSE(ledger_->poll_cursors());
  EXPECT_FALSE(ledger_->open_runs());
  EXPECT_FALSE(ledger_->status());
  EXPECT_TRUE(findings().front().find("not a database") != std::string::npos)
      << "it can be looked at meanwhile";
  changes_.clear();
  EXPECT_FALSE(ledger_->try_again());
  EXPECT_TRUE(changes_.empty()) << "nothing is news";
  fs::rename(folder_.path() / "good", file());
  ASSERT_TRUE(ledger_->try_again());
  EXPECT_FALSE(ledger_->problem());
  ASSERT_FALSE(changes_.empty());
  EXPECT_TRUE(changes_.back().health && changes_.back().work);
  EXPECT_EQ(TaskStatus::sent, get(id(1)).state.status);
  EXPECT_EQ(ErrorCode::conflict, check_ledger(file()).error().code) << "it is held again";
}

TEST_F(LedgerCareTest, AFullDiskIsAProblemUntilThereIsRoom) {
  close();
  options_.max_page_count = 60;
  reopen();
  TaskSpec large = spec();
  large.data = R"({"message":")" + std::string(500'000, 'x') + R"("})";
  changes_.clear();
  EXPECT_FALSE(ledger_->create(large));
  ASSERT_TRUE(ledger_->problem());
  EXPECT_EQ("limit", ledger_->problem()->code);
  ASSERT_EQ(1U, changes_.size());
  EXPECT_TRUE(changes_.front().health);
  ASSERT_TRUE(ledger_->try_again()) << "there is room for little";
  EXPECT_FALSE(ledger_->problem());
  EXPECT_TRUE(changes_.back().health);
}

TEST_F(LedgerCareTest, ASoundLedgerComesThroughASalvageWhole) {
  meet_server();
  deliver(task(id(1)), task(id(2)), task(id(3)));
  start(id(1));
  end(id(1), 1, success(), chunks({{OutputStream::standard_output, 0, "some output"}}));
  start(id(2));
  const std::string local = create();
  const auto incarnation = ledger_->poll_cursors()->incarnation;
  close();
  const SalvageReport report = salvage();
  EXPECT_TRUE(report.ended.empty());
  EXPECT_TRUE(report.lost.empty());
  EXPECT_TRUE(report.knows_its_past);
  EXPECT_TRUE(fs::exists(report.kept));
  EXPECT_TRUE(findings().empty()) << findings().front();
  reopen();
  const auto cursors = ledger_->poll_cursors();
  EXPECT_TRUE(cursors->incomplete);
  EXPECT_EQ(0, cursors->epoch);
  EXPECT_EQ(Cursor{}, cursors->directives);
  ASSERT_EQ(1U, cursors->predecessors.size());
  EXPECT_EQ(incarnation, cursors->predecessors.front());
  EXPECT_EQ(TaskStatus::complete, get(id(1)).state.status);
  EXPECT_EQ(TaskStatus::sent, get(id(3)).state.status);
  EXPECT_EQ(TaskStatus::sent, get(local).state.status);
  const auto open = ledger_->open_runs();
  ASSERT_EQ(1U, open->size()) << "the agent ends it, after what is left of it was stopped";
  EXPECT_EQ(id(2), open->front().task_id);
  EXPECT_EQ("some output", ledger_->kept_output(id(1), 1)->front().bytes);
  meet("node-1", 7);
  EXPECT_FALSE(ledger_->poll_cursors()->incomplete);
  EXPECT_EQ(4U, reports_of<CreatedReport>().size());
}

TEST_F(LedgerCareTest, WhatMayHaveStartedEndsAndWhatRunsIsLeftToTheAgent) {
  meet_server();
  deliver(task(id(1)), task(id(2)), task(id(3)));
  TaskSpec recurring = spec();
  recurring.schedule.update_interval = 60'000;
  deliver(task(id(4), recurring));
  start(id(1));
  start(id(2));
  close();
  // The run of one that runs is gone, and of another the start.
  tamper("DELETE FROM runs WHERE task = (SELECT sequence FROM tasks WHERE id = '" + id(1) +
         "'); UPDATE tasks SET status = 'sent', queue = 1, run_count = 0 WHERE id = '" + id(2) + "'");
  fs::create_directory(spool());
  std::ofstream(spool() / (id(4) + ".processes")) << "\n";
  const SalvageReport report = salvage();
  EXPECT_EQ((std::vector{id(1), id(2)}), report.ended);
  EXPECT_EQ((std::vector{id(4)}), report.passed);
  EXPECT_TRUE(findings().empty()) << findings().front();
  reopen();
  EXPECT_TRUE(ledger_->open_runs()->empty());
  for (const int number : {1, 2}) {
    EXPECT_EQ(TaskStatus::failed, get(id(number)).state.status);
    EXPECT_EQ(reason::kInterrupted, get(id(number)).state.reason);
  }
  EXPECT_EQ(TaskStatus::sent, get(id(3)).state.status);
  EXPECT_EQ((std::vector{id(3)}), ready_ids());
  const TaskState rests = get(id(4)).state;
  EXPECT_EQ(TaskStatus::sent, rests.status);
  ASSERT_TRUE(rests.next_run_at);
  EXPECT_GT(*rests.next_run_at, clock_.wall());
}

TEST_F(LedgerCareTest, WhatIsKnownToWaitGoesOnWaitingWhenOthersAreLost) {
  deliver_many(20);
  start(id(1));
  end(id(1), 1, success());
  close();
  const auto pages = pages_of("tasks");
  ASSERT_GT(pages.size(), 3U);
  damage(pages[pages.size() / 2]);
  const SalvageReport report = salvage();
  ASSERT_FALSE(report.lost.empty());
  ASSERT_LT(report.lost.size(), 18U);
  EXPECT_TRUE(report.ended.empty()) << "the runs say that none of the others was started";
  reopen();
  EXPECT_EQ(19 - report.lost.size(), ready_ids().size());
  for (const auto& lost : report.lost) EXPECT_FALSE(ledger_->get(lost));
}

TEST_F(LedgerCareTest, WhoseRunIsOnlyInTheIndexHasStarted) {
  deliver_many(4);
  for (const int number : {1, 2}) start(id(number));
  close();
  // What the rows say is older than the start; the row of the run is gone, and its index and output tell.
  tamper(
      "UPDATE tasks SET status = 'sent', queue = 1, run_count = 0 WHERE status = 'running'; "
      "INSERT INTO output VALUES ((SELECT task FROM runs ORDER BY task LIMIT 1), 1, 0, 0, x'41'); "
      "UPDATE stream SET output_bytes = 1");
  const auto pages = pages_of("runs");
  ASSERT_EQ(1U, pages.size());
  damage(pages.front());
  EXPECT_EQ((std::vector{id(1), id(2)}), salvage().ended);
  reopen();
  EXPECT_EQ(2U, ready_ids().size());
}

TEST_F(LedgerCareTest, WhereNeitherTasksNorRunsAreWholeOnlyWhatTheRunsTellOfIsKnown) {
  deliver_many(20);
  for (const int number : {1, 2}) {
    start(id(number));
    end(id(number), 1, success());
  }
  close();
  const auto tasks = pages_of("tasks");
  const auto runs = pages_of("runs");
  const auto index = pages_of("sqlite_autoindex_runs_1");
  ASSERT_EQ(1U, runs.size());
  ASSERT_EQ(1U, index.size());
  for (const auto page : {tasks[tasks.size() / 2], runs.front(), index.front()}) damage(page);
  const SalvageReport report = salvage();
  EXPECT_EQ(18 - report.lost.size(), report.ended.size()) << "all that waited";
  reopen();
  EXPECT_TRUE(ready_ids().empty());
}

TEST_F(LedgerCareTest, WithoutItsDataATaskCanNotRun) {
  meet_server();
  deliver(task(id(1)), task(id(2)));
  close();
  tamper("DELETE FROM inputs WHERE task = (SELECT sequence FROM tasks WHERE id = '" + id(1) + "')");
  EXPECT_EQ(std::vector{id(1)}, salvage().ended);
  reopen();
  EXPECT_NE(std::string::npos, get(id(1)).state.detail.find("data of this task")) << get(id(1)).state.detail;
  EXPECT_EQ(std::vector{id(2)}, ready_ids());
}

TEST_F(LedgerCareTest, WhereNobodyKnowsOfAHoldNothingStarts) {
  meet_server();
  deliver(task(id(1)));
  close();
  EXPECT_FALSE(salvage().held) << "its row is there, and says no";
  tamper("DELETE FROM stream");
  EXPECT_TRUE(salvage().held);
  reopen();
  EXPECT_EQ(HeldBy::device, ledger_->status()->held_by);
  ASSERT_TRUE(ledger_->set_hold(false));
  EXPECT_EQ((std::vector{id(1)}), ready_ids());
}

TEST_F(LedgerCareTest, WithoutItsLivedTimeWhatIsKeptIsDatedAnew) {
  create();
  close();
  for (const bool saved : {true, false}) {
    tamper(
        "UPDATE tasks SET kept_since = 99; INSERT OR REPLACE INTO lived_time VALUES (1, 99, 'boot-1', 1, 1, "
        "1, "
        "1, 0)");
    if (!saved) tamper("DELETE FROM lived_time");
    salvage();
    auto database = storage::Database::open(file(), ledger_schema());
    ASSERT_TRUE(database);
    auto row = database->query("SELECT kept_since FROM tasks");
    ASSERT_TRUE(row.step());
    EXPECT_EQ(!saved, row.is_null(0));
  }
}

TEST_F(LedgerCareTest, AGridStaysWhereItWasThroughARebootAndASalvage) {
  TaskSpec recurring = spec();
  recurring.schedule.update_interval = 600'000;
  meet_server();
  deliver(task(id(1), recurring));
  const UnixMilliseconds began = clock_.wall();
  clock_.advance(std::chrono::hours(5));
  reopen();
  close();
  clock_.reboot(std::chrono::seconds(130), std::chrono::seconds(47));
  options_.boot_id = "boot-2";
  fs::create_directory(spool());
  std::ofstream(spool() / (id(1) + ".processes")) << "\n";
  EXPECT_EQ((std::vector{id(1)}), salvage().passed);
  reopen("boot-2");
  const auto next = get(id(1)).state.next_run_at;
  ASSERT_TRUE(next);
  EXPECT_EQ(0, (*next - began) % 600'000) << *next - began;
  EXPECT_GT(*next, clock_.wall());
  EXPECT_LE(*next, clock_.wall() + 600'000);
}

TEST_F(LedgerCareTest, ASavedLedgerIsWholeWithoutItsLog) {
  create();
  close();
  salvage();
  EXPECT_FALSE(fs::exists(file().string() + "-wal"));
  const std::string bytes =
      std::string(std::istreambuf_iterator<char>(std::ifstream(file(), std::ios::binary).rdbuf()), {});
  ASSERT_GT(bytes.size(), 20U);
  EXPECT_EQ(1, bytes[18]) << "its pages are in it, and not in a log";
  EXPECT_EQ(1, bytes[19]);
}

TEST_F(LedgerCareTest, ASalvageThatWasCutOffIsFinishedOrDoneAgain) {
  meet_server();
  deliver(task(id(1)));
  close();
  // The saved one is there, the damaged one as well: whatever the saved one is, it is not believed yet.
  std::ofstream(saved_ledger(file())) << "half";
  EXPECT_FALSE(*finish_cut_off_salvage(file()));
  reopen();
  EXPECT_EQ(TaskStatus::sent, get(id(1)).state.status);
  EXPECT_FALSE(fs::exists(saved_ledger(file()))) << "from here on it would be an old state";
  close();
  // The damaged one is put away, its log is not yet: the saved one takes its place, without that log.
  for (const bool by_the_agent : {true, false}) {
    fs::copy_file(file(), saved_ledger(file()));
    fs::rename(file(), folder_.path() / (by_the_agent ? "away-1" : "away-2"));
    std::ofstream(file().string() + "-wal") << "a log of another";
    if (!by_the_agent) {
      EXPECT_TRUE(*finish_cut_off_salvage(file()));
    }
    reopen();
    EXPECT_EQ(TaskStatus::sent, get(id(1)).state.status);
    EXPECT_FALSE(fs::exists(saved_ledger(file())));
    close();
  }
}

TEST_F(LedgerCareTest, ASavedLedgerStaysWhileTheLedgerCanNotBeOpened) {
  create();
  close();
  fs::copy_file(file(), saved_ledger(file()));
  std::ofstream(file(), std::ios::trunc) << std::string(9000, 'q');
  EXPECT_FALSE(Ledger::open(file(), clock_, options_));
  EXPECT_TRUE(fs::exists(saved_ledger(file())));
}

TEST_F(LedgerCareTest, AResetKeepsWhatWasThereBeside) {
  create();
  close();
  std::ofstream(saved_ledger(file())) << "of a salvage that was cut off";
  std::ofstream(file().string() + "-wal") << "its log";
  const auto kept = put_ledger_away(file(), clock_);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_TRUE(fs::exists(*kept));
  EXPECT_EQ("its log",
            std::string(std::istreambuf_iterator<char>(std::ifstream(kept->string() + "-wal").rdbuf()), {}));
  EXPECT_FALSE(fs::exists(file()));
  EXPECT_FALSE(fs::exists(file().string() + "-wal"));
  EXPECT_EQ(ErrorCode::not_found, put_ledger_away(file(), clock_).error().code);
  EXPECT_EQ(ErrorCode::not_found, salvage_ledger(file(), spool(), clock_, "boot-1").error().code);
  reopen();
  EXPECT_TRUE(ready_ids().empty());
}

TEST_F(LedgerCareTest, AResetOfALedgerWhoseSalvageWasCutOffKeepsTheSavedOneAway) {
  create();
  close();
  fs::rename(file(), saved_ledger(file()));
  const auto kept = put_ledger_away(file(), clock_);
  ASSERT_TRUE(kept) << kept.error().message;
  reopen();
  EXPECT_TRUE(ready_ids().empty());
}

}  // namespace
}  // namespace agenttask::agent
