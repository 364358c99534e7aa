#include <mutex>
#include <optional>

#include "platform/storage/database.hpp"
#include "server/store/sqlite/schema.hpp"
#include "server/store/sqlite/writes.hpp"

namespace agenttask::server {
namespace {

using storage::Database;
using storage::Savepoint;
using storage::Transaction;

/// A reading connection; while it is lent it holds one snapshot.
class ReadConnection {
 public:
  explicit ReadConnection(Database database) : database_(std::move(database)), reads_(database_) {}

  const ReadStore* lend() {
    snapshot_.emplace(database_, Transaction::Kind::read);
    return &reads_;
  }
  void take_back() { snapshot_.reset(); }

 private:
  Database database_;
  sqlite::SqliteReads reads_;
  std::optional<Transaction> snapshot_;
};

class SqliteSession final : public WriteSession {
 public:
  /// `before_close`: lets go of the reading connections. The last connection to close has to be this one, as
  /// only a writing one can bring the write-ahead log back into the file.
  SqliteSession(Database database, std::function<void()> before_close)
      : database_(std::move(database)), writes_(database_), before_close_(std::move(before_close)) {}
  ~SqliteSession() override {
    rollback();
    before_close_();
  }

  Result<void> begin() override {
    group_.emplace(database_, Transaction::Kind::write);
    if (database_.failed()) {
      auto failure = database_.check();
      group_.reset();
      return failure;
    }
    return {};
  }

  Result<void> commit() override {
    auto result = group_->commit();
    group_.reset();
    lost_.reset();
    return result;
  }

  void rollback() final {
    job_.reset();
    group_.reset();
    lost_.reset();
    writes_.touched().clear();
    writes_.actions().clear();
  }

  Result<void> begin_job() override {
    if (lost_) return *lost_;
    touched_before_ = writes_.touched().size();
    actions_before_ = writes_.actions().size();
    job_.emplace(database_);
    return {};
  }

  Result<void> end_job(bool keep) override {
    Result<void> result;
    if (keep || database_.failed()) result = job_->release();
    job_.reset();
    if (!keep || !result) {
      writes_.touched().resize(touched_before_);
      writes_.actions().resize(actions_before_);
    }
    // A failure that stays took the whole transaction with it (a full disk may). What came next would be
    // outside of it, and kept although its group fails.
    if (!result && database_.failed()) lost_ = result.error();
    return result;
  }

  WriteStore& store() override { return writes_; }
  std::vector<std::string> take_touched() override { return std::exchange(writes_.touched(), {}); }
  std::vector<std::function<void()>> take_actions() override { return std::exchange(writes_.actions(), {}); }

 private:
  Database database_;
  sqlite::SqliteWrites writes_;
  std::function<void()> before_close_;
  std::optional<Transaction> group_;
  std::optional<Savepoint> job_;
  std::size_t touched_before_ = 0;
  std::size_t actions_before_ = 0;
  std::optional<Error> lost_;  ///< why the group can't be committed any more
};

class SqliteStore final : public Store {
 public:
  SqliteStore(std::filesystem::path file, Database writer)
      : file_(std::move(file)), writer_(std::move(writer)) {}

  Result<ReadLease> read() override {
    std::shared_ptr<ReadConnection> connection;
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        connection = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (!connection) {
      storage::OpenOptions options;
      options.read_only = true;
      auto database = Database::open(file_, sqlite::schema(), options);
      if (!database) return database.error();
      connection = std::make_shared<ReadConnection>(std::move(*database));
    }
    const ReadStore* reads = connection->lend();
    return ReadLease(reads, [this, connection](const ReadStore*) { give_back(connection); });
  }

  Result<std::unique_ptr<WriteSession>> write_session() override {
    if (!writer_) return Error{ErrorCode::conflict, "the server's database has a writer already"};
    // What a statement or a job could undo is kept in memory: in files it costs a write of each page that a
    // row touches.
    writer_->execute_script("PRAGMA temp_store = MEMORY");
    if (auto set = writer_->check(); !set) return set.error();
    auto session = std::make_unique<SqliteSession>(std::move(*writer_), [this] { close_idle(); });
    writer_.reset();
    return std::unique_ptr<WriteSession>(std::move(session));
  }

 private:
  void give_back(const std::shared_ptr<ReadConnection>& connection) {
    connection->take_back();
    const std::scoped_lock lock(mutex_);
    idle_.push_back(connection);
  }

  void close_idle() {
    const std::scoped_lock lock(mutex_);
    idle_.clear();
  }

  std::filesystem::path file_;
  std::optional<Database> writer_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<ReadConnection>> idle_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::filesystem::path& file) {
  auto database = Database::open(file, sqlite::schema());
  if (!database) return database.error();
  return std::unique_ptr<Store>(std::make_unique<SqliteStore>(file, std::move(*database)));
}

}  // namespace agenttask::server
