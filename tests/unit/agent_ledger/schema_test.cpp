#include "agent/ledger/schema.hpp"

#include <gtest/gtest.h>

#include "agent/ledger/ledger.hpp"
#include "platform/base/ids.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

TEST(LedgerSchema, EveryPastVersionIsBroughtUpToDateWithItsTasks) {
  const auto& newest = ledger_schema();
  const test::ManualClock clock;
  for (std::size_t version = 1; version <= newest.migrations.size(); ++version) {
    const test::TemporaryFolder folder;
    const auto file = folder.path() / "ledger.db";
    {
      const storage::Schema past{newest.name, newest.application_id, newest.migrations.first(version)};
      auto database = storage::Database::open(file, past);
      ASSERT_TRUE(database) << database.error().message;
      database->execute(
          "INSERT INTO tasks (sequence, id, node_id, type, description, tags, room_id, world_id, metadata, "
          "timeout,"
          " expires_at, retry_attempts, retry_backoff, retry_most, rerun, max_output_bytes, priority,"
          " concurrency_key, scheduled_for, status, reason, detail, add_time, sent_time, start_time, "
          "end_time,"
          " updated_at, next_run_at, run_count, cancel_requested_at, deleted_at, result, queue, ready_at, "
          "reruns,"
          " reported) VALUES (1, '00000000-0000-7000-8000-000000000001', '', 'echo', '', '[]', '', "
          "'', '{}', 0,"
          " NULL, NULL, NULL, NULL, 0, 0, 0, '', NULL, 'sent', '', '', 1, 1, NULL, NULL, 1, NULL, 0, NULL, "
          "NULL, '', 1, 1,"
          " 0, 0)");
      database->execute("INSERT INTO inputs VALUES (1, x'00', '{}')");
      ASSERT_TRUE(database->check());
    }
    auto ledger = Ledger::open(file, clock);
    ASSERT_TRUE(ledger) << "version " << version << ": " << ledger.error().message;
    EXPECT_TRUE((*ledger)->start("00000000-0000-7000-8000-000000000001")->run);
  }
}

TEST(LedgerSchema, ANewerLedgerIsRefused) {
  const test::TemporaryFolder folder;
  const test::ManualClock clock;
  const auto file = folder.path() / "ledger.db";
  std::vector<std::string_view> migrations(ledger_schema().migrations.begin(),
                                           ledger_schema().migrations.end());
  migrations.emplace_back("CREATE TABLE later (x)");
  {
    auto database =
        storage::Database::open(file, {ledger_schema().name, ledger_schema().application_id, migrations});
    ASSERT_TRUE(database);
  }
  const auto ledger = Ledger::open(file, clock);
  ASSERT_FALSE(ledger);
  EXPECT_EQ(ErrorCode::newer, ledger.error().code);
}

}  // namespace
}  // namespace agenttask::agent
