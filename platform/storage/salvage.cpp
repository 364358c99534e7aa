#include "platform/storage/salvage.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <utility>

#include <sqlite3.h>

#include "platform/storage/connection.hpp"

namespace agenttask::storage {
namespace {

/// Rows with higher numbers than this behind the last that was read are not searched for.
constexpr std::int64_t kFarthest = 1LL << 40;

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

/// A statement that goes back to its connection.
class Rows {
 public:
  Rows(Connection& connection, std::string_view sql) : connection_(connection), lent_(connection.take(sql)) {}
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows() {
    if (lent_.statement != nullptr) connection_.give_back(lent_);
  }
  [[nodiscard]] sqlite3_stmt* get() const { return lent_.statement; }
  /// False: no more rows, or the next one can't be read.
  bool step() {
    if (lent_.statement == nullptr) return false;
    const int code = sqlite3_step(lent_.statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
      connection_.fail(code, "cannot read " + connection_.file().string());
    return code == SQLITE_ROW;
  }
  [[nodiscard]] std::string text(int column) const {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(lent_.statement, column));
    return bytes == nullptr
               ? std::string()
               : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(lent_.statement, column)));
  }

 private:
  Connection& connection_;
  const Connection::Lent lent_;
};

/// What was wrong with the damaged file since the last call; empty: nothing.
std::string take_problem(Connection& connection) {
  const auto read = connection.take_failure();
  return read ? std::string() : read.error().message;
}

}  // namespace

Result<FileHeader> read_header(const std::filesystem::path& file) {
  std::error_code unknown;
  if (!std::filesystem::exists(file, unknown))
    return Error{ErrorCode::not_found, "there is no " + file.string()};
  sqlite3* raw = nullptr;
  const int opened =
      sqlite3_open_v2(file.string().c_str(), &raw, SQLITE_OPEN_READONLY | SQLITE_OPEN_EXRESCODE, nullptr);
  Connection connection(raw, file);
  if (opened != SQLITE_OK) return sqlite_error(raw, opened, "cannot read " + file.string());
  FileHeader header;
  for (auto [pragma, field] : {std::pair{"PRAGMA application_id", &header.application_id},
                               std::pair{"PRAGMA user_version", &header.version}}) {
    const auto lent = connection.take(pragma);
    sqlite3_stmt* statement = lent.statement;
    if (statement == nullptr) return connection.take_failure().error();
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) *field = sqlite3_column_int(statement, 0);
    connection.give_back(lent);
    if (code != SQLITE_ROW) return sqlite_error(raw, code, "cannot read " + file.string());
  }
  return header;
}

Result<Salvage> Salvage::begin(Database& into, const std::filesystem::path& damaged) {
  sqlite3* raw = nullptr;
  const int opened =
      sqlite3_open_v2(damaged.string().c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, nullptr);
  auto connection = std::make_unique<Connection>(raw, damaged);
  if (opened != SQLITE_OK) return sqlite_error(raw, opened, "cannot read " + damaged.string());
  connection->run_script("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF");
  into.execute_script("PRAGMA foreign_keys = OFF");
  if (auto ready = into.check(); !ready) return ready.error();
  return Salvage(into, std::move(connection));
}

Salvage::Salvage(Database& into, std::unique_ptr<Connection> damaged)
    : into_(&into), damaged_(std::move(damaged)) {}
Salvage::Salvage(Salvage&& other) noexcept = default;

Salvage::~Salvage() {
  if (!damaged_) return;
  (void)into_->check();
  into_->execute_script("PRAGMA foreign_keys = ON");
  (void)into_->check();
}

/// Those that both have: a table may have got columns that the damaged one's schema does not name.
std::vector<std::string> Salvage::shared_columns(std::string_view table) {
  std::set<std::string> old;
  {
    Rows row(*damaged_, "SELECT name FROM pragma_table_info('" + std::string(table) + "')");
    while (row.step()) old.insert(row.text(0));
  }
  if (!take_problem(*damaged_).empty()) return {};
  std::vector<std::string> columns;
  Statement row = into_->query("SELECT name FROM pragma_table_info(?1)", {table});
  while (row.step()) {
    if (old.contains(row.text(0))) columns.push_back(row.text(0));
  }
  return columns;
}

/// The first row's number from `from` on, without its values: nothing where there is none.
std::optional<std::int64_t> Salvage::next_row(std::string_view table, std::int64_t from, bool& readable) {
  std::optional<std::int64_t> found;
  {
    Rows row(*damaged_, "SELECT rowid FROM " + in_quotes(table) +
                            " NOT INDEXED WHERE rowid >= ?1 ORDER BY rowid LIMIT 1");
    if (row.get() != nullptr) sqlite3_bind_int64(row.get(), 1, from);
    if (row.step()) found = sqlite3_column_int64(row.get(), 0);
  }
  readable = take_problem(*damaged_).empty();
  return found;
}

/// Where the table can be read again after `from`, which can't: no row when nowhere.
std::optional<std::int64_t> Salvage::behind_damage(std::string_view table, std::int64_t from) {
  bool readable = false;
  std::int64_t broken = from;
  std::int64_t sound = from;
  for (std::int64_t step = 1; step <= kFarthest && sound == from; step *= 2) {
    const auto found = next_row(table, from + step, readable);
    if (readable && !found) return std::nullopt;
    (readable ? sound : broken) = from + step;
  }
  if (sound == from) return std::nullopt;
  while (sound - broken > 1) {
    const std::int64_t middle = broken + (sound - broken) / 2;
    (void)next_row(table, middle, readable);
    (readable ? sound : broken) = middle;
  }
  return next_row(table, sound, readable);
}

/// Copies rows from `from` on until the first that can't be read; moves `from` behind the last that was seen.
/// False: there are no more.
Result<bool> Salvage::copy_from(SavedTable& done, const std::vector<std::string>& columns,
                                std::int64_t& from) {
  std::string names;
  std::string places;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    names += (i == 0 ? "" : ", ") + in_quotes(columns[i]);
    places += (i == 0 ? "?" : ", ?") + std::to_string(i + 1);
  }
  Connection& target = *into_->connection_;
  Rows read(*damaged_, "SELECT " + names + ", rowid FROM " + in_quotes(done.name) +
                           " NOT INDEXED WHERE rowid >= ?1 ORDER BY rowid");
  if (read.get() != nullptr) sqlite3_bind_int64(read.get(), 1, from);
  const int count = static_cast<int>(columns.size());
  while (read.step()) {
    Rows insert(target, "INSERT INTO " + in_quotes(done.name) + " (" + names + ") VALUES (" + places + ")");
    if (insert.get() == nullptr) return target.take_failure().error();
    for (int i = 0; i < count; ++i)
      sqlite3_bind_value(insert.get(), i + 1, sqlite3_column_value(read.get(), i));
    from = sqlite3_column_int64(read.get(), count) + 1;
    (void)insert.step();
    const auto written = target.take_failure();
    if (written) {
      ++done.saved;
    } else if (written.error().code == ErrorCode::conflict) {
      ++done.lost;  // values that the table's rules do not allow: what was read is no row of it
      if (done.problem.empty()) done.problem = written.error().message;
    } else {
      return written.error();
    }
  }
  const std::string problem = take_problem(*damaged_);
  if (done.problem.empty()) done.problem = problem;
  return !problem.empty();
}

Result<SavedTable> Salvage::copy(std::string_view table) {
  SavedTable done{std::string(table), 0, 0, {}};
  {
    Statement mine = into_->query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", {table});
    if (!mine.step()) return done;
  }
  const auto columns = shared_columns(table);
  if (columns.empty()) {
    done.problem = "the table can't be found in the damaged file";
    return done;
  }
  std::int64_t from = 1;  // rows have numbers from one on
  for (;;) {
    const auto more = copy_from(done, columns, from);
    if (!more) return more.error();
    if (!*more) return done;
    // A row whose number can be read is itself damaged; otherwise it is what leads to rows from there on.
    bool readable = false;
    const auto next = next_row(table, from, readable);
    if (readable && !next) return done;
    if (readable) {
      ++done.lost;
      from = *next + 1;
      continue;
    }
    const auto behind = behind_damage(table, from);
    done.lost += behind ? *behind - from : 1;
    if (!behind) return done;
    from = *behind;
  }
}

std::vector<std::string> Salvage::indexed_texts(std::string_view table, std::string_view column) {
  std::set<std::string> found;
  for (const char* order : {"", " DESC"}) {
    {
      Rows row(*damaged_, "SELECT " + in_quotes(column) + " FROM " + in_quotes(table) + " ORDER BY " +
                              in_quotes(column) + order);
      while (row.step()) {
        // Seen from the other end: everything in between is known.
        if (!found.insert(row.text(0)).second && *order != '\0') break;
      }
    }
    if (take_problem(*damaged_).empty()) break;
  }
  return {found.begin(), found.end()};
}

IndexedNumbers Salvage::indexed_numbers(std::string_view table, std::string_view first,
                                        std::string_view second) {
  IndexedNumbers found;
  IndexedNumbers::Range unknown{std::numeric_limits<std::int64_t>::min(),
                                std::numeric_limits<std::int64_t>::max()};
  for (const bool forwards : {true, false}) {
    const std::string order = forwards ? "" : " DESC";
    {
      Rows row(*damaged_, "SELECT " + in_quotes(first) + ", " + in_quotes(second) + " FROM " +
                              in_quotes(table) + " ORDER BY " + in_quotes(first) + order + ", " +
                              in_quotes(second) + order);
      while (row.step()) {
        const std::int64_t number = sqlite3_column_int64(row.get(), 0);
        // Seen from the other end: everything in between is known.
        if (!forwards && number < unknown.from) break;
        (forwards ? unknown.from : unknown.to) = number;
        const std::int64_t other = sqlite3_column_int64(row.get(), 1);
        auto& greatest = found.greatest.try_emplace(number, other).first->second;
        greatest = std::max(greatest, other);
      }
    }
    if (take_problem(*damaged_).empty()) return found;
  }
  found.unknown = unknown;
  return found;
}

std::vector<std::string> Salvage::findings(std::size_t most) {
  std::vector<std::string> lines;
  {
    Rows row(*damaged_, "PRAGMA integrity_check(" + std::to_string(most) + ")");
    while (row.step()) {
      if (row.text(0) != "ok") lines.push_back(row.text(0));
    }
  }
  for (auto& line : lines) std::replace(line.begin(), line.end(), '\n', ' ');
  if (std::string problem = take_problem(*damaged_); !problem.empty()) lines.push_back(std::move(problem));
  return lines;
}

}  // namespace agenttask::storage
