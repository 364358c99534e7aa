#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <sqlite3.h>

#include "platform/storage/connection.hpp"
#include "platform/storage/database.hpp"

namespace agenttask::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostBytesToCheck = 64LL * 1024 * 1024;

std::string describe(const fs::path& file, const Schema& schema) {
  return std::string(schema.name) + " " + file.string();
}

/// One integer that a PRAGMA or query gives; the failure stays with the database.
std::int64_t single_integer(Database& database, std::string_view sql) {
  Statement statement = database.query(sql);
  return statement.step() ? statement.integer(0) : 0;
}

/// Whose file it is, by its header and schema; reads only. Says whether it is empty, thus new.
Result<bool> check_owner(Database& database, const Schema& schema) {
  const std::int64_t id = single_integer(database, "PRAGMA application_id");
  const std::int64_t version = single_integer(database, "PRAGMA user_version");
  const std::int64_t tables = single_integer(database, "SELECT count(*) FROM sqlite_schema");
  if (auto checked = database.check(); !checked) {
    return with_context(checked.error(), "cannot open " + describe(database.file(), schema));
  }
  if (id == 0 && version == 0 && tables == 0) return true;
  if (id != schema.application_id) {
    return Error{ErrorCode::invalid, "cannot open " + describe(database.file(), schema) +
                                         ": it is the database of another program; nothing was changed"};
  }
  const auto known = static_cast<std::int64_t>(schema.migrations.size());
  if (version > known) {
    return Error{ErrorCode::newer, "cannot open " + describe(database.file(), schema) +
                                       ": it was written by a newer version (its schema is " +
                                       std::to_string(version) + ", this version knows " +
                                       std::to_string(known) +
                                       "); use the newer version. Nothing was changed"};
  }
  return false;
}

Result<void> check_damage(Database& database, const Schema& schema) {
  if (database.size_bytes() > kMostBytesToCheck) return database.check();
  std::string found;
  {
    Statement statement = database.query("PRAGMA quick_check(1)");
    if (statement.step()) found = statement.text(0);
  }
  if (auto checked = database.check(); !checked) {
    return with_context(checked.error(), "cannot open " + describe(database.file(), schema));
  }
  if (found == "ok") return {};
  std::replace(found.begin(), found.end(), '\n', ' ');
  return Error{ErrorCode::corrupt,
               "cannot open " + describe(database.file(), schema) + ": it is damaged (" + found +
                   "); restore it from a backup, or move it away to begin anew. " + "Nothing was changed"};
}

Result<void> migrate(Database& database, const Schema& schema) {
  for (auto version = static_cast<std::size_t>(single_integer(database, "PRAGMA user_version"));
       version < schema.migrations.size(); ++version) {
    Transaction transaction(database);
    database.commits(kSchemaMigrated);
    database.execute_script(schema.migrations[version]);
    database.execute_script("PRAGMA application_id = " + std::to_string(schema.application_id));
    database.execute_script("PRAGMA user_version = " + std::to_string(version + 1));
    if (auto committed = transaction.commit(); !committed) {
      return with_context(committed.error(), "cannot bring " + describe(database.file(), schema) +
                                                 " to version " + std::to_string(version + 1));
    }
  }
  return database.check();
}

/// Settings of the connection that change nothing in the file.
void configure(Database& database, const OpenOptions& options) {
  if (options.exclusive) database.execute_script("PRAGMA locking_mode = EXCLUSIVE");
  // fullfsync counts on macOS alone, where fsync leaves what was written in the drive's own cache.
  database.execute_script(
      "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; "
      "PRAGMA checkpoint_fullfsync = ON; PRAGMA trusted_schema = OFF");
  if (options.max_page_count) {
    database.execute_script("PRAGMA max_page_count = " + std::to_string(*options.max_page_count));
  }
}

enum class Existence : std::uint8_t {
  may_be_new,
  must_be_there,  ///< it was open before: a new one in its place is another
};

/// Pages of files are taken from the heap one by one, and given back one by one: SQLite would take twenty at
/// once for each file, and keep them. What the heap holds is not counted, as nobody asks: the counters have
/// one lock, for which all threads would wait at each piece of memory. Before the first file is opened, as it
/// holds for the process.
void configure_process() {
  static const bool configured = [] {
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    return true;
  }();
  (void)configured;
}

Result<std::unique_ptr<Connection>> connect(const fs::path& file, const Schema& schema,
                                            const OpenOptions& options, Existence existence) {
  configure_process();
  sqlite3* handle = nullptr;
  int access = options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (!options.read_only && existence == Existence::may_be_new) access |= SQLITE_OPEN_CREATE;
  std::error_code ignored;
  const bool is_new = !fs::exists(file, ignored);
  const int code = sqlite3_open_v2(file.string().c_str(), &handle,
                                   access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  // SQLite gives a handle even when it fails, and it has to be closed.
  auto connection = std::make_unique<Connection>(handle, file);
  if (code != SQLITE_OK) return sqlite_error(handle, code, "cannot open " + describe(file, schema));
  sqlite3_busy_timeout(handle, static_cast<int>(options.busy_timeout.count()));
  // Until the file is known to be ours, closing must not even move pages from its log into it.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  if (is_new) {
    fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write, ignored);
  }
  return connection;
}

/// Looks whose file it is and whether it is sound, and brings it up to date.
Result<void> prepare(Database& database, sqlite3* handle, const Schema& schema, const OpenOptions& options,
                     Existence existence) {
  const fs::path& file = database.file();
  configure(database, options);
  if (auto configured = database.check(); !configured) {
    return with_context(configured.error(), "cannot open " + describe(file, schema));
  }
  const auto empty = check_owner(database, schema);
  if (!empty) return empty.error();
  if (*empty && existence == Existence::must_be_there) {
    return Error{ErrorCode::io, "cannot open " + describe(file, schema) +
                                    " again: what was in it is gone, and an empty file is in its place; put "
                                    "the right one back"};
  }
  if (!*empty) {
    if (auto sound = check_damage(database, schema); !sound) return sound;
  }
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  if (options.read_only) return {};
  database.execute_script("PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 67108864");
  if (auto set = database.check(); !set)
    return with_context(set.error(), "cannot open " + describe(file, schema));
  return migrate(database, schema);
}

}  // namespace

Result<Database> Database::open(const fs::path& file, const Schema& schema, const OpenOptions& options) {
  auto database = open_once(file, schema, options);
  if (database) {
    database->connection_->reopens(
        [file, schema, options]() -> Result<std::unique_ptr<Connection>> {
          auto connection = connect(file, schema, options, Existence::must_be_there);
          if (!connection) return connection.error();
          sqlite3* handle = (*connection)->handle();
          Database again(std::move(*connection));
          const auto prepared = prepare(again, handle, schema, options, Existence::must_be_there);
          if (!prepared) return prepared.error();
          return std::move(again.connection_);
        },
        options.read_only);
  }
  return database;
}

Result<Database> Database::open_once(const fs::path& file, const Schema& schema, const OpenOptions& options) {
  auto connection = connect(file, schema, options, Existence::may_be_new);
  if (!connection) return connection.error();
  sqlite3* handle = (*connection)->handle();
  Database database(std::move(*connection));
  const auto prepared = prepare(database, handle, schema, options, Existence::may_be_new);
  if (!prepared) return prepared.error();
  return database;
}

}  // namespace agenttask::storage
