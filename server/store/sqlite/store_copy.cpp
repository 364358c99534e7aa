#include "server/store/store_copy.hpp"

#include "platform/storage/copy_database.hpp"
#include "platform/storage/database.hpp"
#include "server/store/batches.hpp"
#include "server/store/commit_points.hpp"
#include "server/store/sqlite/schema.hpp"
#include "server/store/sqlite/writes.hpp"

namespace agenttask::server {
namespace {

using storage::Database;

constexpr std::size_t kDamageShown = 3;

StoreContents count(Database& database, UnixMilliseconds now) {
  const auto number = [&](std::string_view sql) {
    auto row = database.query(sql, {now});
    return row.step() ? row.integer(0) : 0;
  };
  return {
      number("SELECT count(*) FROM nodes WHERE revoked_at IS NULL AND ?1 = ?1"),
      number("SELECT count(*) FROM tasks WHERE ?1 = ?1"),
      number("SELECT count(*) FROM operators WHERE revoked_at IS NULL AND coalesce(expires_at, ?1 + 1) > ?1"),
      number("SELECT count(*) FROM enrollment_tokens WHERE used < uses AND expires_at > ?1")};
}

/// What waits may have been offered in the time that is not known here: the devices decide about it.
void mark_offered(Database& database) {
  database.execute(
      "UPDATE tasks SET offered = 1 WHERE offered = 0 AND node_id IN (SELECT id FROM nodes WHERE restored = "
      "1)");
}

}  // namespace

Result<void> copy_sqlite_store(const std::filesystem::path& source, const std::filesystem::path& target) {
  return storage::copy_database(source, target, sqlite::schema());
}

Result<StoreContents> look_at_sqlite_store(const std::filesystem::path& file, UnixMilliseconds now) {
  storage::OpenOptions options;
  options.read_only = true;
  auto database = Database::open(file, sqlite::schema(), options);
  if (!database) return database.error();
  const auto damage = storage::find_damage(*database, kDamageShown);
  if (!damage) return damage.error();
  if (!damage->empty()) {
    return Error{ErrorCode::corrupt, file.string() + " is damaged: " + damage->front()};
  }
  const StoreContents contents = count(*database, now);
  if (auto read = database->check(); !read) return read.error();
  return contents;
}

Result<StoreContents> prepare_restored_store(const std::filesystem::path& file, UnixMilliseconds taken_at,
                                             UnixMilliseconds now) {
  auto database = Database::open(file, sqlite::schema());
  if (!database) return database.error();
  storage::Transaction transaction(*database);
  database->commits(commit_point::kAdministered);
  const StoreContents before = count(*database, now);
  database->execute("DELETE FROM enrollment_tokens");
  database->execute("INSERT INTO restores(taken_at, restored_at) VALUES(?1, ?2)", {taken_at, now});
  database->execute("UPDATE nodes SET restored = 1 WHERE revoked_at IS NULL");
  mark_offered(*database);
  // Nobody serves it yet, so that it may take its time: afterwards every target of a batch has its task,
  // which may have been made and offered in the time that is not known here, too.
  sqlite::SqliteWrites writes(*database);
  for (const auto batch : writes.open_batches()) {
    while (!database->failed() && carry_on_batch(writes, batch, now)) {
    }
  }
  mark_offered(*database);
  if (auto committed = transaction.commit(); !committed) {
    return with_context(committed.error(), "cannot make " + file.string() + " ready to be served");
  }
  if (auto closed = storage::close_as_one_file(*std::move(database)); !closed) return closed.error();
  return before;
}

}  // namespace agenttask::server
