#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/commit_point.hpp"
#include "platform/base/error.hpp"

struct sqlite3_stmt;

/// SQLite behind RAII: open and check, statements, transactions, migrations.
///
/// Failures are sticky. The first statement that fails leaves its error with the connection; statements after
/// it do nothing and find no rows. The scope that ends, Transaction::commit, Savepoint::release or
/// Database::check, returns that error and clears it. So code in a scope reads like the happy path, and
/// nothing half done can be committed.
///
/// Codes: `limit` the disk (or the page limit) is full · `denied` read-only or not permitted · `corrupt`
/// damaged or not a database · `unavailable` busy: another connection holds it · `conflict` a constraint ·
/// `io` any other failure of the disk · `newer` written by a newer version · `internal` a fault of ours (bad
/// SQL).
///
/// A disk that fails a call, fsync among them, is not believed again: whatever is done next begins with
/// opening the file anew, and fails as long as that does. What was committed before stays; what was answered
/// as failed does not come back.
///
/// Threads: a connection and all that came from it belong to one thread at a time; open one connection for
/// each thread that reads. Crash: what commit answered survives power loss (WAL, synchronous=FULL).
namespace agenttask::storage {

/// What a file holds: who may open it, and how its tables came to be.
struct Schema {
  std::string_view name;        ///< for messages: "the agent's ledger"
  std::int32_t application_id;  ///< tells one program's files from another's; never 0
  /// SQL scripts, oldest first; the file's `user_version` counts those applied. Each runs in one transaction.
  std::span<const std::string_view> migrations;
};

struct OpenOptions {
  bool read_only = false;  ///< a further connection that reads; the file must exist and be up to date
  /// Holds the file for this connection alone until it closes: a second program fails to open it
  /// (`unavailable`).
  bool exclusive = false;
  std::chrono::milliseconds busy_timeout{5000};
  std::optional<std::int64_t> max_page_count = {};  ///< a limit of the file's size, for tests of a full disk
};

/// Bytes, where a std::string_view would mean text.
struct Blob {
  std::string_view bytes;
};

/// A value to bind, by implicit conversion. Refers to the text it was made from: use it within one
/// expression.
class Value {
 public:
  enum class Kind : std::uint8_t { null, integer, real, text, blob };

  Value(std::nullptr_t) {}
  Value(std::nullopt_t) {}
  template <std::integral Integer>
  Value(Integer value) : kind_(Kind::integer), integer_(static_cast<std::int64_t>(value)) {}
  Value(double value) : kind_(Kind::real), real_(value) {}
  Value(std::string_view value) : kind_(Kind::text), bytes_(value) {}
  Value(const std::string& value) : kind_(Kind::text), bytes_(value) {}
  Value(const char* value) : kind_(Kind::text), bytes_(value) {}
  Value(Blob value) : kind_(Kind::blob), bytes_(value.bytes) {}
  template <class T>
  Value(const std::optional<T>& value) {
    if (value) *this = Value(*value);
  }

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] std::int64_t integer() const { return integer_; }
  [[nodiscard]] double real() const { return real_; }
  [[nodiscard]] std::string_view bytes() const { return bytes_; }

 private:
  Kind kind_ = Kind::null;
  std::int64_t integer_ = 0;
  double real_ = 0;
  std::string_view bytes_;
};

class Connection;  // the SQLite handle, its statements and its first failure

/// A prepared statement with its values bound. Goes back to the connection's cache when destroyed. Columns
/// count from 0.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  Statement(const Statement&) = delete;
  ~Statement();

  /// Goes to the next row. False: no more rows, or a failure (sticky, see above).
  bool step();

  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string text(int column) const;  ///< text or blob, copied; empty for null
  [[nodiscard]] std::optional<std::int64_t> optional_integer(int column) const;
  [[nodiscard]] std::optional<std::string> optional_text(int column) const;

 private:
  friend class Database;
  Statement(Connection& connection, sqlite3_stmt* handle, std::vector<sqlite3_stmt*>* home)
      : connection_(&connection), handle_(handle), home_(home) {}

  Connection* connection_;
  sqlite3_stmt* handle_;              ///< null: it failed before it began, or was moved from
  std::vector<sqlite3_stmt*>* home_;  ///< where it goes back to
  bool done_ = false;
};

/// One open connection. Movable; statements and scopes refer to it and must end before it.
class Database {
 public:
  /// Opens or creates `file` and brings it up to date. A file that is not a database, is damaged, belongs to
  /// another program or was written by a newer version is refused with a message that says so, and left as it
  /// is. The check for damage reads the schema, and all pages (`quick_check`) of files up to 64 MiB: larger
  /// ones would delay every start for seconds.
  [[nodiscard]] static Result<Database> open(const std::filesystem::path& file, const Schema& schema,
                                             const OpenOptions& options = {});

  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  /// Prepares (or takes from the cache) one statement and binds `values` to ?1, ?2, …
  [[nodiscard]] Statement query(std::string_view sql, std::initializer_list<Value> values = {});
  /// Runs one statement to its end; returns how many rows it changed, 0 on failure.
  std::int64_t execute(std::string_view sql, std::initializer_list<Value> values = {});
  /// Runs a script of several statements, without values.
  void execute_script(std::string_view sql);
  [[nodiscard]] std::int64_t last_insert_id() const;

  /// The first failure since the last scope ended, cleared by this: for statements outside of any scope.
  [[nodiscard]] Result<void> check();
  /// Whether statements do nothing because one failed before.
  [[nodiscard]] bool failed() const;
  /// Makes the connection fail with `error` as if a statement had: what a scope does is then undone.
  void fail(Error error);
  /// Names what the open transaction makes durable. A name counts once; one that is given within a savepoint
  /// is undone with it.
  void commits(CommitPoint point);

  /// Gives back the memory that is kept for the next use, prepared statements and pages of the file: for a
  /// connection that will wait. The next use takes a little longer. Outside of transactions.
  void release_memory();

  /// The size of the file in bytes by SQLite's count of pages.
  [[nodiscard]] std::int64_t size_bytes();
  [[nodiscard]] const std::filesystem::path& file() const;

 private:
  friend class Transaction;
  friend class Savepoint;
  friend class Salvage;
  /// Whether the values are there as long as the statement: then they are not copied.
  enum class Values : std::uint8_t { stay, go };
  Statement bound(std::string_view sql, std::initializer_list<Value> values, Values life);
  static Result<Database> open_once(const std::filesystem::path& file, const Schema& schema,
                                    const OpenOptions& options);
  explicit Database(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

/// A transaction from construction to commit(). Destroyed without commit it rolls back, and clears the
/// failure.
class Transaction {
 public:
  enum class Kind : std::uint8_t {
    read,   ///< one consistent view of several queries
    write,  ///< takes the write lock at once, so that it can't fail half-way for being late
  };
  explicit Transaction(Database& database, Kind kind = Kind::write);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  /// Whether it did not begin, or is over and undone already: a full disk can do that, to which the failure
  /// of the statement belongs.
  [[nodiscard]] bool ended() const;
  /// On disk when this returns no error. On an error everything was rolled back.
  [[nodiscard]] Result<void> commit();

 private:
  Database& database_;
  bool open_ = false;
  bool finished_ = false;
};

/// A part of a transaction that can be undone alone. Nests. Destroyed without release it rolls back to its
/// start, and clears a failure that happened inside it, unless that failure ended the whole transaction (a
/// full disk may).
class Savepoint {
 public:
  explicit Savepoint(Database& database);
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;
  ~Savepoint();

  /// Keeps what was done since, as part of the enclosing transaction. On an error it was undone.
  [[nodiscard]] Result<void> release();

 private:
  void roll_back();
  Database& database_;
  std::size_t names_before_;
  bool open_ = false;
};

}  // namespace agenttask::storage
