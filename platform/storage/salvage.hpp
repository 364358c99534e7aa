#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/storage/database.hpp"

/// Saves what can be read of a database that Database::open refuses as damaged.
namespace agenttask::storage {

/// What a file's header says.
struct FileHeader {
  std::int32_t application_id = 0;
  std::int32_t version = 0;  ///< of its tables
};
/// `corrupt`: it is no database at all, or its first page can't be read; `not_found`.
[[nodiscard]] Result<FileHeader> read_header(const std::filesystem::path& file);

/// What became of one table.
struct SavedTable {
  std::string name;
  std::int64_t saved = 0;  ///< rows
  /// Rows that could not be read, and places between readable rows where some may have been; where nothing
  /// behind a damage can be read, that counts as one.
  std::int64_t lost = 0;
  std::string problem;  ///< why the table is not whole; empty: every row was read
  [[nodiscard]] bool whole() const { return problem.empty(); }
};

/// What a unique index over two numbers says, which lies apart from the rows.
struct IndexedNumbers {
  struct Range {
    std::int64_t from = 0;
    std::int64_t to = 0;
  };
  std::map<std::int64_t, std::int64_t> greatest;  ///< for each first number the greatest second
  std::optional<Range> unknown;  ///< of these first numbers it can't be read, or not to the end
};

/// Copies tables from a damaged database into a sound one of the same tables. Threads: as the Database.
class Salvage {
 public:
  /// `damaged` is a copy of the file: looking at it may change it. References between rows are not enforced
  /// until the end: rows may come without those they name.
  static Result<Salvage> begin(Database& into, const std::filesystem::path& damaged);
  Salvage(Salvage&& other) noexcept;
  Salvage& operator=(Salvage&&) = delete;
  Salvage(const Salvage&) = delete;
  ~Salvage();

  /// Copies all rows that can be read and that fit the table's rules. What can't is passed, row by row.
  /// Nothing where the sound database has no such table.
  [[nodiscard]] Result<SavedTable> copy(std::string_view table);
  /// The texts of a unique column by its index, which lies apart from the rows: from both ends up to the
  /// first damage.
  [[nodiscard]] std::vector<std::string> indexed_texts(std::string_view table, std::string_view column);
  /// The same for a unique index over two numbers.
  [[nodiscard]] IndexedNumbers indexed_numbers(std::string_view table, std::string_view first,
                                               std::string_view second);
  /// The first few findings about the damaged file.
  [[nodiscard]] std::vector<std::string> findings(std::size_t most);

 private:
  Salvage(Database& into, std::unique_ptr<Connection> damaged);
  std::vector<std::string> shared_columns(std::string_view table);
  std::optional<std::int64_t> next_row(std::string_view table, std::int64_t from, bool& readable);
  std::optional<std::int64_t> behind_damage(std::string_view table, std::int64_t from);
  Result<bool> copy_from(SavedTable& done, const std::vector<std::string>& columns, std::int64_t& from);

  Database* into_;
  std::unique_ptr<Connection> damaged_;
};

}  // namespace agenttask::storage
