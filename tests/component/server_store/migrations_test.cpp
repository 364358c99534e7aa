#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "platform/storage/database.hpp"
#include "server/store/batches.hpp"
#include "server/store/enrollment.hpp"
#include "server/store/sqlite/schema.hpp"
#include "tests/component/server_store/store_fixture.hpp"

// Databases that older versions wrote, opened by this one.
namespace agenttask::server::test {
namespace {

constexpr const char* kNode = "00000000-0000-7000-8000-00000000000a";
constexpr const char* kOperators = "00000000-0000-7000-8000-000000000001";
constexpr const char* kDevices = "00000000-0000-7000-8000-000000000002";

std::string spec_text(const char* id) {
  TaskSpec spec;
  spec.id = id;
  spec.node_id = kNode;
  spec.type = "echo";
  spec.tags = {"old"};
  spec.options.max_output_bytes = 77;
  return encode_json(spec_to_json(spec));
}

/// A node with a task of an operator that runs, one that its device made, output, and a report about neither.
void fill(storage::Database& database) {
  database.execute(
      "INSERT INTO nodes(id, name, name_fixed, version, platform, labels, enrolled_at, hold_reported,"
      " incarnation, quarantine_reason, epoch, forked, snapshot, offered_sequence, offered_chain,"
      " acknowledged_sequence, acknowledged_chain, report_sequence, report_chain)"
      " VALUES(?1, 'alpha', 1, '0.1.0', 'linux', '{\"site\":\"a\"}', 5, 0, 'first', '', 3, 0, 0,"
      " 1, 'c', 1, 'c', 4, 'r')",
      {kNode});
  const auto add_task = [&](const char* id, const char* status, const char* created_by) {
    database.execute(
        "INSERT INTO tasks(id, node_id, type, room_id, world_id, spec, status, reason, detail, paused,"
        " add_time, sent_time, updated_at, run_count, missed_count, digest, created_by, offered,"
        " decided_alone, directive) VALUES(?1, ?2, 'echo', '', '', ?3, ?4, '', '', 0, 6, 7, 8, 1, 0, 'd',"
        " ?5, 1, 0, 1)",
        {id, kNode, spec_text(id), status, created_by});
    const auto sequence = database.last_insert_id();
    database.execute("INSERT INTO task_payloads VALUES(?1, '{\"message\":\"x\"}', '')", {sequence});
    database.execute("INSERT INTO task_tags VALUES('old', ?1)", {sequence});
  };
  add_task(kOperators, "running", "tester");
  add_task(kDevices, "sent", "device");
  database.execute(
      "INSERT INTO runs(task_id, number, status, reason, start_time, result)"
      " VALUES(?1, 1, 'running', '', 8, '')",
      {kOperators});
  database.execute(
      "INSERT INTO output VALUES(?1, 1, 0, 0, x'616263'), (?1, 1, 0, 3, x'64'), (?1, 1, 1, 0, x'6566')",
      {kOperators});
  database.execute(
      "INSERT INTO orphans(node_id, task_id, kind, line, time) VALUES(?1, 'gone', 'ended', '{\"é\":1}', 9)",
      {kNode});
}

/// A database as `version` left it. Returns its file.
std::filesystem::path past_database(const std::filesystem::path& folder, std::size_t version) {
  const auto& newest = sqlite::schema();
  const auto file = folder / "server.db";
  const storage::Schema past{newest.name, newest.application_id, newest.migrations.first(version)};
  auto database = storage::Database::open(file, past);
  EXPECT_TRUE(database) << database.error().message;
  fill(*database);
  EXPECT_TRUE(database->check()) << database->check().error().message;
  return file;
}

/// All before the one that counts what is kept while it is written.
constexpr std::size_t kUncounted = 3;

class Migrations : public ::testing::TestWithParam<std::size_t> {
 protected:
  Migrations() : file(past_database(folder.path(), GetParam())) {
    store = std::move(open_sqlite_store(file).value());
    session = std::move(store->write_session().value());
  }

  template <class Function>
  void write(Function function) {
    ASSERT_TRUE(session->begin());
    ASSERT_TRUE(session->begin_job());
    function(session->store());
    ASSERT_TRUE(session->end_job(true));
    ASSERT_TRUE(session->commit());
  }

  agenttask::test::TemporaryFolder folder;
  std::filesystem::path file;
  std::unique_ptr<Store> store;
  std::unique_ptr<WriteSession> session;
};

TEST_P(Migrations, KeepWhatWasThere) {
  const auto lease = store->read().value();
  const auto node = lease->node(kNode).value();
  EXPECT_EQ(node.labels, (Labels{{"site", "a"}}));
  EXPECT_EQ(node.incarnation, "first");
  EXPECT_EQ(node.epoch, 3);
  EXPECT_EQ(node.reports, (Cursor{4, "r"}));
  EXPECT_FALSE(node.released);
  EXPECT_FALSE(node.ledger_lost);
  EXPECT_FALSE(node.quarantined_at);
  for (const char* id : {kOperators, kDevices}) {
    const auto record = lease->task(id, WithData::yes).value();
    EXPECT_EQ(record.task.spec.data, R"({"message":"x"})");
    EXPECT_EQ(record.task.spec.tags, std::vector<std::string>{"old"});
    EXPECT_TRUE(record.offered);
    EXPECT_FALSE(record.in_doubt);
  }
  EXPECT_EQ(lease->runs(kOperators).size(), 1U);
  EXPECT_EQ(lease->output(kOperators, 1).size(), 3U);
  EXPECT_EQ(lease->orphans(kNode).size(), 1U);
  EXPECT_FALSE(lease->lived_time());
  EXPECT_TRUE(lease->check());
}

TEST_P(Migrations, CountWhatIsKept) {
  const auto lease = store->read().value();
  const auto totals = lease->device_totals(kNode);
  EXPECT_EQ(totals.orphans, 1);
  EXPECT_EQ(totals.orphan_bytes, 8) << "bytes, not characters";
  EXPECT_EQ(totals.tasks, 1) << "those that an operator made don't count";
  EXPECT_EQ(totals.task_bytes, 0) << "of older ones it is not known";
  EXPECT_EQ(lease->output_limit(kOperators, 1), 77);
  EXPECT_EQ(lease->output_bytes(kOperators, 1, OutputStream::standard_output), 4);
  EXPECT_EQ(lease->output_bytes(kOperators, 1, OutputStream::standard_error), 2);
}

TEST_P(Migrations, LetOldRowsGoOn) {
  write([](WriteStore& writes) {
    writes.put_output(kOperators, 1, {OutputStream::standard_output, 4, "ghi"});
    writes.add_device_bytes(kDevices, 10);
    EXPECT_EQ(writes.device_totals(kNode).task_bytes, 10);
    writes.remove_task(kDevices);
    writes.date_what_is_over(5, 100, 10);
    writes.forget_before(0, 0, 6, 100);
    writes.insert_past_incarnation(kNode, "before", 5);
  });
  {
    const auto lease = store->read().value();
    EXPECT_EQ(lease->output_bytes(kOperators, 1, OutputStream::standard_output), 7);
    EXPECT_EQ(lease->device_totals(kNode).tasks, 0);
    EXPECT_EQ(lease->device_totals(kNode).task_bytes, 0);
    EXPECT_EQ(lease->device_totals(kNode).orphans, 0);
    EXPECT_EQ(lease->device_totals(kNode).orphan_bytes, 0);
    EXPECT_EQ(lease->incarnation_replaced_at(kNode, "before"), 5);
  }
  write([](WriteStore& writes) {
    auto node = writes.node(kNode).value();
    retire_node(writes, node, 50);
  });
  const auto lease = store->read().value();
  EXPECT_EQ(lease->task(kOperators, WithData::no)->task.state.reason, "interrupted");
  EXPECT_EQ(lease->run(kOperators, 1)->status, RunStatus::failed);
}

INSTANTIATE_TEST_SUITE_P(Version, Migrations, ::testing::Range<std::size_t>(1, kUncounted + 1));

TEST(OlderDatabase, LearnsOfOccurrencesAnswersAndMessages) {
  for (std::size_t version = 1; version < sqlite::schema().migrations.size(); ++version) {
    const agenttask::test::TemporaryFolder folder;
    auto store = std::move(open_sqlite_store(past_database(folder.path(), version)).value());
    auto session = std::move(store->write_session().value());
    ASSERT_TRUE(session->begin());
    ASSERT_TRUE(session->begin_job());
    WriteStore& writes = session->store();
    auto record = writes.task(kOperators, WithData::no).value();
    EXPECT_EQ(record.task.state.occurrence, 0);
    EXPECT_FALSE(record.task.state.chosen || record.task.state.choice_requested);
    EXPECT_EQ(writes.run(kOperators, 1)->option, "");
    record.task.state.chosen = ChoiceMade{"a", "user:x", 5};
    record.task.state.choice_requested = ChoiceMade{"b", "operator:y", 6};
    record.task.state.occurrence = 7;
    writes.update_task_state(record);
    writes.put_run({kOperators, 2, RunStatus::running, "", 5, {}, "", 7, "a"}, {});
    EXPECT_TRUE(writes.insert_message({0, {kDevices, kNode, "room", "", kOperators, 1, "{}", 5}, kNode, ""}));
    ASSERT_TRUE(session->end_job(true)) << "version " << version;
    ASSERT_TRUE(session->commit());
    const auto lease = store->read().value();
    EXPECT_EQ(lease->task(kOperators, WithData::no)->task.state.chosen, record.task.state.chosen);
    EXPECT_EQ(lease->task(kOperators, WithData::no)->task.state.choice_requested,
              record.task.state.choice_requested);
    EXPECT_EQ(lease->run(kOperators, 2)->option, "a");
    EXPECT_EQ(lease->run(kOperators, 2)->occurrence, 7);
    EXPECT_EQ(lease->messages({"room", "", ""}, 0, 10).size(), 1U);
  }
}

TEST(OlderDatabase, TakesTasksForManyDevices) {
  for (std::size_t version = 1; version < sqlite::schema().migrations.size(); ++version) {
    const agenttask::test::TemporaryFolder folder;
    auto store = std::move(open_sqlite_store(past_database(folder.path(), version)).value());
    auto session = std::move(store->write_session().value());
    ASSERT_TRUE(session->begin());
    ASSERT_TRUE(session->begin_job());
    WriteStore& writes = session->store();
    EXPECT_EQ(writes.task(kOperators, WithData::no)->batch, 0) << "those that were there are of none";
    BatchRecord record;
    record.id = kDevices;
    record.spec.type = "echo";
    record.target = "{}";
    const auto batch = create_batch(writes, record, writes.nodes_with({{"site", "a"}}), 100);
    EXPECT_EQ(batch.made, 1) << "version " << version;
    TaskFilter filter;
    filter.batch = batch;
    const auto tasks = writes.tasks(filter, 0, 10, WithData::yes);
    ASSERT_EQ(tasks.size(), 1U);
    EXPECT_EQ(tasks[0].task.spec.node_id, kNode);
    auto old = writes.task(kOperators, WithData::yes).value();
    old.task.state.status = TaskStatus::complete;
    old.task.state.result = R"({"success":true})";
    writes.update_task_state(old);
    EXPECT_EQ(writes.task(kOperators, WithData::yes)->task.state.result, old.task.state.result);
    EXPECT_EQ(writes.task(kOperators, WithData::yes)->task.spec.data, R"({"message":"x"})");
    ASSERT_TRUE(session->end_job(true)) << "version " << version;
    ASSERT_TRUE(session->commit());
  }
}

TEST(NewerDatabase, IsRefused) {
  const agenttask::test::TemporaryFolder folder;
  const auto& newest = sqlite::schema();
  std::vector<std::string_view> migrations(newest.migrations.begin(), newest.migrations.end());
  migrations.emplace_back("CREATE TABLE later(x)");
  const auto file = folder.path() / "server.db";
  ASSERT_TRUE(storage::Database::open(file, {newest.name, newest.application_id, migrations}));
  const auto store = open_sqlite_store(file);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::newer);
}

}  // namespace
}  // namespace agenttask::server::test
