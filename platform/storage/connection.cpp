#include "platform/storage/connection.hpp"

#include <utility>

#include <sqlite3.h>

namespace agenttask::storage {
namespace {

ErrorCode to_code(int code) {
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return ErrorCode::limit;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return ErrorCode::denied;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::corrupt;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::unavailable;
    case SQLITE_CONSTRAINT:
      return ErrorCode::conflict;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
      return ErrorCode::io;
    default:
      return ErrorCode::internal;
  }
}

std::string_view advice(int code) {
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return "; make room on the disk";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return "; check the rights of the file and its folder";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "; restore it from a backup, or move it away to begin anew";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "; another program or connection is using it";
    default:
      return "";
  }
}

}  // namespace

Error sqlite_error(sqlite3* handle, int code, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  message += " (";
  message += sqlite3_errstr(code);
  message += ")";
  message += advice(code);
  return Error{to_code(code), std::move(message)};
}

Connection::~Connection() {
  close();
}

void Connection::drop_statements() {
  for (auto& [sql, statements] : cache_) {
    for (sqlite3_stmt* statement : statements) sqlite3_finalize(statement);
  }
  cache_.clear();
}

void Connection::release_memory() {
  if (lent_ > 0 || in_transaction()) return;
  drop_statements();
  if (handle_ != nullptr) sqlite3_db_release_memory(handle_);
}

void Connection::close() {
  drop_statements();
  sqlite3_close_v2(handle_);
  handle_ = nullptr;
}

void Connection::fail(int code, std::string_view what) {
  if ((code & 0xFF) == SQLITE_IOERR) suspect_ = true;
  fail(sqlite_error(handle_, code, what));
}

Result<void> Connection::mend() {
  if (!suspect_ || !reopen_ || lent_ > 0 || in_transaction()) return {};
  if (handle_ != nullptr && !read_only_) {
    const int code =
        sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    if (code != SQLITE_OK)
      return sqlite_error(handle_, code,
                          "the disk failed before, and " + file_.string() + " can't be mended yet");
  }
  close();
  auto fresh = reopen_();
  if (!fresh) return with_context(fresh.error(), "the disk failed before");
  handle_ = std::exchange((*fresh)->handle_, nullptr);
  suspect_ = false;
  return {};
}

int Connection::lend(std::string_view sql, Lent& lent) {
  auto found = cache_.find(sql);
  if (found == cache_.end() || found->second.empty()) {
    const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &lent.statement, nullptr);
    if (code != SQLITE_OK || lent.statement == nullptr) return code;
    if (found == cache_.end()) found = cache_.try_emplace(std::string(sql)).first;
  } else {
    lent.statement = found->second.back();
    found->second.pop_back();
  }
  lent.home = &found->second;
  ++lent_;
  return SQLITE_OK;
}

Connection::Lent Connection::take(std::string_view sql) {
  if (failed()) return {};
  if (suspect_) {
    if (auto mended = mend(); !mended) {
      fail(mended.error());
      return {};
    }
  }
  Lent lent;
  const int code = lend(sql, lent);
  if (code != SQLITE_OK) fail(code, "cannot prepare a statement on " + file_.string());
  return lent;
}

void Connection::give_back(Lent lent) {
  --lent_;
  sqlite3_reset(lent.statement);
  sqlite3_clear_bindings(lent.statement);
  lent.home->push_back(lent.statement);
}

int Connection::run(std::string_view sql) {
  if (handle_ == nullptr) return SQLITE_IOERR;
  Lent lent;
  if (const int code = lend(sql, lent); code != SQLITE_OK) return code;
  const int code = sqlite3_step(lent.statement);
  give_back(lent);
  return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

int Connection::run_script(const char* script) {
  return handle_ == nullptr ? SQLITE_IOERR : sqlite3_exec(handle_, script, nullptr, nullptr, nullptr);
}

void Connection::fail(Error error) {
  if (!failure_) failure_ = std::move(error);
}

Result<void> Connection::take_failure() {
  if (!failure_) return {};
  Error error = std::move(*failure_);
  failure_.reset();
  return error;
}

bool Connection::in_transaction() const {
  return handle_ != nullptr && sqlite3_get_autocommit(handle_) == 0;
}

}  // namespace agenttask::storage
