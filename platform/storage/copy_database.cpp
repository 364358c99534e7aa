#include "platform/storage/copy_database.hpp"

#include <algorithm>
#include <memory>
#include <system_error>

#include <sqlite3.h>

#include "platform/base/filesystem_error.hpp"
#include "platform/storage/connection.hpp"

namespace agenttask::storage {
namespace {

namespace fs = std::filesystem;

/// Until then it waits where another connection holds the source for a moment.
constexpr int kBusyMilliseconds = 10'000;
constexpr std::size_t kDamageShown = 3;

struct HandleCloser {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
};
using Handle = std::unique_ptr<sqlite3, HandleCloser>;

Result<Handle> open_raw(const fs::path& file, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(file.string().c_str(), &raw,
                                   flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Handle handle(raw);
  if (code != SQLITE_OK) return sqlite_error(raw, code, "cannot open " + file.string());
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  return handle;
}

/// All pages in one step, so that the copy is of one instant.
Result<void> copy_pages(sqlite3* from, sqlite3* to, const fs::path& target) {
  sqlite3_backup* backup = sqlite3_backup_init(to, "main", from, "main");
  if (backup == nullptr)
    return sqlite_error(to, sqlite3_extended_errcode(to), "cannot write " + target.string());
  int code = SQLITE_OK;
  do {
    code = sqlite3_backup_step(backup, -1);
  } while (code == SQLITE_BUSY || code == SQLITE_LOCKED);
  const int finished = sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) return sqlite_error(nullptr, code, "cannot copy to " + target.string());
  if (finished != SQLITE_OK) return sqlite_error(to, finished, "cannot copy to " + target.string());
  return {};
}

Result<void> copy_into(const fs::path& source, const fs::path& target, const Schema& schema) {
  // Through the front door first: it says what the file is, and refuses what it should not be.
  OpenOptions options;
  options.read_only = true;
  if (auto known = Database::open(source, schema, options); !known) return known.error();
  auto from = open_raw(source, SQLITE_OPEN_READONLY);
  if (!from) return from.error();
  auto to = open_raw(target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!to) return to.error();
  std::error_code failed;
  fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write, failed);
  if (failed) return filesystem_error("cannot set the rights of " + target.string(), failed);
  sqlite3_exec(to->get(), "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON", nullptr, nullptr, nullptr);
  if (auto copied = copy_pages(from->get(), to->get(), target); !copied) return copied;
  // One file, whole by itself: no log that somebody could forget to copy.
  const int single = sqlite3_exec(to->get(), "PRAGMA journal_mode = DELETE", nullptr, nullptr, nullptr);
  if (single != SQLITE_OK) return sqlite_error(to->get(), single, "cannot finish " + target.string());
  return {};
}

Result<void> check_copy(const fs::path& target, const Schema& schema) {
  OpenOptions options;
  options.read_only = true;
  auto copy = Database::open(target, schema, options);
  if (!copy) return with_context(copy.error(), "what was written can't be read back");
  const auto damage = find_damage(*copy, kDamageShown);
  if (!damage) return with_context(damage.error(), "what was written can't be read back");
  if (damage->empty()) return {};
  std::string what;
  for (const auto& line : *damage) what += (what.empty() ? "" : "; ") + line;
  return Error{ErrorCode::corrupt,
               "the copy " + target.string() + " is damaged, as the database was or the disk is: " + what};
}

}  // namespace

Result<void> copy_database(const fs::path& source, const fs::path& target, const Schema& schema) {
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(target, ignored))) {
    return Error{ErrorCode::conflict, target.string() + " is there already, and is not overwritten"};
  }
  auto done = copy_into(source, target, schema);
  if (done) done = check_copy(target, schema);
  if (!done) {
    fs::remove(target, ignored);
    fs::path journal = target;
    fs::remove(journal += "-journal", ignored);
  }
  return done;
}

Result<void> close_as_one_file(Database database) {
  const fs::path file = database.file();
  const std::string what = "cannot bring " + file.string() + " and its log into one file";
  std::string mode;
  {
    Statement statement = database.query("PRAGMA journal_mode = DELETE");
    if (statement.step()) mode = statement.text(0);
  }
  if (auto done = database.check(); !done) return with_context(done.error(), what);
  { const Database closed = std::move(database); }
  std::error_code failed;
  fs::path log = file;
  const bool has_log = fs::exists(fs::symlink_status(log += "-wal", failed));
  if (mode == "delete" && !has_log) return {};
  return Error{ErrorCode::io, what + ": " + (has_log ? "the log is still there" : "its mode is " + mode)};
}

Result<std::vector<std::string>> find_damage(Database& database, std::size_t most) {
  std::vector<std::string> found;
  {
    Statement pages =
        database.query("SELECT * FROM pragma_integrity_check(?1)", {static_cast<std::int64_t>(most)});
    while (pages.step()) {
      if (pages.text(0) != "ok") found.push_back(pages.text(0));
    }
  }
  for (auto& line : found) std::replace(line.begin(), line.end(), '\n', ' ');
  // What stopped the look is itself what is wrong.
  if (auto read = database.check(); !read) {
    if (read.error().code != ErrorCode::corrupt) return read.error();
    found.push_back(read.error().message);
    return found;
  }
  Statement references = database.query("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check");
  while (found.size() < most && references.step()) {
    found.push_back("row " + references.text(1) + " of " + references.text(0) + " names a row of " +
                    references.text(2) + " that is not there");
  }
  if (auto read = database.check(); !read) {
    if (read.error().code != ErrorCode::corrupt) return read.error();
    found.push_back(read.error().message);
  }
  return found;
}

}  // namespace agenttask::storage
