#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "platform/base/commit_point.hpp"
#include "platform/base/error.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace agenttask::storage {

/// Ours for an SQLite result code; see the codes in database.hpp. `handle` gives its words, may be null.
[[nodiscard]] Error sqlite_error(sqlite3* handle, int code, std::string_view what);

/// What Database, Statement and the scopes share: the handle, statements that wait to be used again, the
/// first failure. Inside platform/storage only.
class Connection {
 public:
  Connection(sqlite3* handle, std::filesystem::path file) : handle_(handle), file_(std::move(file)) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] sqlite3* handle() const { return handle_; }
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

  /// How to open the same file again, with all checks; not given: it can't be.
  using Reopen = std::function<Result<std::unique_ptr<Connection>>()>;
  void reopens(Reopen reopen, bool read_only) {
    reopen_ = std::move(reopen);
    read_only_ = read_only;
  }
  /// After the disk failed a call, what SQLite and the kernel hold in memory may not be what is on the disk.
  /// So nothing more is done with this handle: what is committed goes into the file, the log is emptied, so
  /// that what was answered as failed can't come back to life, and the file is opened anew. Nothing to do:
  /// nothing failed. Call it outside of transactions. On an error it is tried again at the next call.
  [[nodiscard]] Result<void> mend();

  /// Statements of one text that nobody uses.
  using Idle = std::vector<sqlite3_stmt*>;
  struct Lent {
    sqlite3_stmt* statement = nullptr;  ///< null: it failed before it began
    Idle* home = nullptr;               ///< where it comes from and goes back to
  };
  /// A statement of this text, from the cache or newly prepared; none on failure (kept).
  [[nodiscard]] Lent take(std::string_view sql);
  void give_back(Lent lent);
  /// Gives back what is kept for the next use: statements, and pages of the file.
  void release_memory();
  /// Runs a script whatever failed before; returns SQLite's code.
  int run_script(const char* script);
  /// The same for one statement without values, which is prepared once: what begins and ends a scope.
  int run(std::string_view sql);

  void fail(Error error);
  void fail(int code, std::string_view what);
  [[nodiscard]] bool failed() const { return failure_.has_value(); }
  [[nodiscard]] Result<void> take_failure();
  [[nodiscard]] bool in_transaction() const;

  /// What the open transaction makes durable, by name.
  [[nodiscard]] std::vector<CommitPoint>& commit_points() { return commit_points_; }

 private:
  struct TextHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  void close();
  void drop_statements();
  int lend(std::string_view sql, Lent& lent);

  sqlite3* handle_;  ///< null: closed after a failure of the disk, and not open again yet
  std::filesystem::path file_;
  Reopen reopen_;
  bool read_only_ = false;
  bool suspect_ = false;  ///< the disk failed a call since the file was opened
  int lent_ = 0;          ///< statements in use
  std::optional<Error> failure_;
  std::vector<CommitPoint> commit_points_;
  std::unordered_map<std::string, Idle, TextHash, std::equal_to<>> cache_;
};

}  // namespace agenttask::storage
