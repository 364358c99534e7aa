#include "platform/storage/database.hpp"

#include <algorithm>
#include <utility>

#include <sqlite3.h>

#include "platform/storage/connection.hpp"

namespace agenttask::storage {
namespace {

int bind(sqlite3_stmt* statement, int position, const Value& value, sqlite3_destructor_type life) {
  switch (value.kind()) {
    case Value::Kind::null:
      return sqlite3_bind_null(statement, position);
    case Value::Kind::integer:
      return sqlite3_bind_int64(statement, position, value.integer());
    case Value::Kind::real:
      return sqlite3_bind_double(statement, position, value.real());
    // An empty view may have no address, and SQLite takes null for NULL.
    case Value::Kind::text:
      return sqlite3_bind_text64(statement, position, value.bytes().empty() ? "" : value.bytes().data(),
                                 value.bytes().size(), life, SQLITE_UTF8);
    case Value::Kind::blob:
      return sqlite3_bind_blob64(statement, position, value.bytes().empty() ? "" : value.bytes().data(),
                                 value.bytes().size(), life);
  }
  return SQLITE_MISUSE;
}

void tell(Connection& connection, CommitMoment moment) {
  for (const CommitPoint point : connection.commit_points()) at_commit_point(point, moment);
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      handle_(std::exchange(other.handle_, nullptr)),
      home_(other.home_),
      done_(other.done_) {}

Statement::~Statement() {
  if (handle_ != nullptr) connection_->give_back({handle_, home_});
}

bool Statement::step() {
  if (handle_ == nullptr || done_ || connection_->failed()) return false;
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  done_ = true;
  if (code != SQLITE_DONE) {
    const std::string what = "cannot work on " + connection_->file().string();
    connection_->fail(sqlite3_extended_errcode(connection_->handle()), what);
  }
  return false;
}

bool Statement::is_null(int column) const {
  return handle_ == nullptr || sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const {
  return handle_ == nullptr ? 0 : sqlite3_column_int64(handle_, column);
}

double Statement::real(int column) const {
  return handle_ == nullptr ? 0 : sqlite3_column_double(handle_, column);
}

std::string Statement::text(int column) const {
  if (handle_ == nullptr) return {};
  const void* bytes = sqlite3_column_blob(handle_, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle_, column));
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  return is_null(column) ? std::nullopt : std::optional(integer(column));
}

std::optional<std::string> Statement::optional_text(int column) const {
  return is_null(column) ? std::nullopt : std::optional(text(column));
}

Database::Database(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Database::Database(Database&& other) noexcept = default;
Database& Database::operator=(Database&& other) noexcept = default;
Database::~Database() = default;

Statement Database::bound(std::string_view sql, std::initializer_list<Value> values, Values life) {
  const auto [handle, home] = connection_->take(sql);
  int position = 0;
  for (const Value& value : values) {
    if (handle == nullptr) break;
    const int code = bind(handle, ++position, value, life == Values::stay ? SQLITE_STATIC : SQLITE_TRANSIENT);
    if (code != SQLITE_OK) connection_->fail(code, "cannot bind a value for " + connection_->file().string());
  }
  return {*connection_, handle, home};
}

Statement Database::query(std::string_view sql, std::initializer_list<Value> values) {
  return bound(sql, values, Values::go);
}

std::int64_t Database::execute(std::string_view sql, std::initializer_list<Value> values) {
  if (auto mended = connection_->mend(); !mended) connection_->fail(mended.error());
  if (failed()) return 0;
  const std::int64_t before = sqlite3_total_changes64(connection_->handle());
  {
    Statement statement = bound(sql, values, Values::stay);
    while (statement.step()) {
    }
  }
  return failed() ? 0 : sqlite3_total_changes64(connection_->handle()) - before;
}

void Database::execute_script(std::string_view sql) {
  if (auto mended = connection_->mend(); !mended) connection_->fail(mended.error());
  if (failed()) return;
  const int code = connection_->run_script(std::string(sql).c_str());
  if (code != SQLITE_OK) connection_->fail(code, "cannot work on " + connection_->file().string());
}

std::int64_t Database::last_insert_id() const {
  return connection_->handle() == nullptr ? 0 : sqlite3_last_insert_rowid(connection_->handle());
}

Result<void> Database::check() {
  return connection_->take_failure();
}
bool Database::failed() const {
  return connection_->failed();
}
void Database::fail(Error error) {
  connection_->fail(std::move(error));
}
void Database::commits(CommitPoint point) {
  auto& points = connection_->commit_points();
  if (std::find(points.begin(), points.end(), point) == points.end()) points.push_back(point);
}
const std::filesystem::path& Database::file() const {
  return connection_->file();
}

void Database::release_memory() {
  connection_->release_memory();
}

std::int64_t Database::size_bytes() {
  Statement statement = query("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()");
  return statement.step() ? statement.integer(0) : 0;
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  if (database_.failed()) return;
  Connection& connection = *database_.connection_;
  if (auto mended = connection.mend(); !mended) {
    connection.fail(mended.error());
    return;
  }
  const int code = connection.run(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
  if (code == SQLITE_OK) {
    open_ = true;
  } else {
    connection.fail(code, "cannot begin to write " + connection.file().string());
  }
}

Transaction::~Transaction() {
  if (finished_) return;
  Connection& connection = *database_.connection_;
  // SQLite may have rolled back by itself, on a full disk for example.
  if (open_ && connection.in_transaction()) connection.run("ROLLBACK");
  connection.commit_points().clear();
  (void)connection.take_failure();
}

bool Transaction::ended() const {
  return !open_ || !database_.connection_->in_transaction();
}

Result<void> Transaction::commit() {
  Connection& connection = *database_.connection_;
  if (open_ && !connection.failed()) {
    tell(connection, CommitMoment::before);
    const int code = connection.run("COMMIT");
    if (code != SQLITE_OK) connection.fail(code, "cannot commit to " + connection.file().string());
    if (code == SQLITE_OK) tell(connection, CommitMoment::after);
  }
  if (open_ && connection.in_transaction()) connection.run("ROLLBACK");
  connection.commit_points().clear();
  finished_ = true;
  return connection.take_failure();
}

Savepoint::Savepoint(Database& database)
    : database_(database), names_before_(database.connection_->commit_points().size()) {
  if (database_.failed()) return;
  Connection& connection = *database_.connection_;
  const int code = connection.run("SAVEPOINT part");
  if (code == SQLITE_OK) {
    open_ = true;
  } else {
    connection.fail(code, "cannot begin to write " + connection.file().string());
  }
}

Savepoint::~Savepoint() {
  if (!open_) return;
  roll_back();
  if (database_.connection_->in_transaction()) (void)database_.connection_->take_failure();
}

void Savepoint::roll_back() {
  open_ = false;
  Connection& connection = *database_.connection_;
  if (connection.in_transaction()) {
    connection.run("ROLLBACK TO part");
    connection.run("RELEASE part");
  }
  auto& points = connection.commit_points();
  points.erase(points.begin() + static_cast<std::ptrdiff_t>(std::min(names_before_, points.size())),
               points.end());
}

Result<void> Savepoint::release() {
  Connection& connection = *database_.connection_;
  if (!open_) return connection.take_failure();
  if (!connection.failed()) {
    const int code = connection.run("RELEASE part");
    if (code == SQLITE_OK) {
      open_ = false;
      return {};
    }
    connection.fail(code, "cannot write " + connection.file().string());
  }
  roll_back();
  // Where the whole transaction is gone, the failure stays, so that its commit() says so too.
  if (connection.in_transaction()) return connection.take_failure();
  auto failure = connection.take_failure();
  connection.fail(failure.error());
  return failure;
}

}  // namespace agenttask::storage
