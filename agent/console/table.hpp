#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/console/screen.hpp"

namespace agenttask::console {

/// A column of a table. Columns that may shrink give way, the widest first, when the terminal is too narrow.
struct Column {
  std::string title;
  bool may_shrink = false;
  bool right = false;  ///< numbers stand on the right
};

struct Cell {
  Cell(std::string text_, Color color_ = Color::none)
      : text(std::move(text_)),
        color(color_) {}  // NOLINT(google-explicit-constructor): rows read as lists of texts
  std::string text;
  Color color;
};

/// Rows and columns for people, with two blanks between columns. Whatever is added is made printable first.
class Table {
 public:
  explicit Table(std::vector<Column> columns);
  /// One cell for each column.
  void add(std::vector<Cell> row);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// Fitted to the screen's width. Each line ends with a newline.
  [[nodiscard]] std::string render(const Screen& screen) const;

 private:
  [[nodiscard]] std::vector<std::size_t> fit(std::size_t width) const;
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// Lines of `name: value` with the values below each other, for one object. Empty values are left out.
class Fields {
 public:
  void add(std::string name, std::string_view value);
  [[nodiscard]] std::string render() const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace agenttask::console
