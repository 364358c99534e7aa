#include "agent/console/table.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "agent/console/text.hpp"

namespace agenttask::console {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 8;  ///< a column that shrinks keeps at least this much

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add(std::vector<Cell> row) {
  row.resize(columns_.size(), Cell(std::string()));
  for (Cell& cell : row) cell.text = printable(cell.text);
  rows_.push_back(std::move(row));
}

std::vector<std::size_t> Table::fit(std::size_t width) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    std::size_t widest = display_width(columns_[column].title);
    for (const auto& row : rows_) widest = std::max(widest, display_width(row[column].text));
    widths.push_back(widest);
  }
  if (width == 0) return widths;
  const std::size_t gaps = columns_.empty() ? 0 : kGap * (columns_.size() - 1);
  std::size_t total = std::accumulate(widths.begin(), widths.end(), gaps);
  while (total > width) {
    std::size_t widest = columns_.size();
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      if (!columns_[column].may_shrink || widths[column] <= kNarrowest) continue;
      if (widest == columns_.size() || widths[column] > widths[widest]) widest = column;
    }
    if (widest == columns_.size()) break;  // nothing gives way any more: the terminal wraps
    --widths[widest];
    --total;
  }
  return widths;
}

std::string Table::render(const Screen& screen) const {
  const std::vector<std::size_t> widths = fit(screen.width());
  const auto line = [&](const auto& cell_of) {
    std::string text;
    std::size_t blanks = 0;  // written only before something, so that no line ends with them
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      const Cell& cell = cell_of(column);
      const std::string shown = shorten(cell.text, widths[column]);
      const std::size_t padding = widths[column] - std::min(widths[column], display_width(shown));
      if (columns_[column].right) blanks += padding;
      if (!shown.empty()) {
        text += std::string(blanks, ' ') + screen.paint(cell.color, shown);
        blanks = 0;
      }
      if (!columns_[column].right) blanks += padding;
      blanks += kGap;
    }
    return text + "\n";
  };
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.emplace_back(column.title, Color::faint);
  std::string out = line([&](std::size_t column) -> const Cell& { return titles[column]; });
  for (const auto& row : rows_) {
    out += line([&](std::size_t column) -> const Cell& { return row[column]; });
  }
  return out;
}

void Fields::add(std::string name, std::string_view value) {
  if (value.empty()) return;
  fields_.emplace_back(std::move(name), printable_lines(value));
}

std::string Fields::render() const {
  std::size_t widest = 0;
  for (const auto& field : fields_) widest = std::max(widest, display_width(field.first));
  std::string out;
  for (const auto& [name, value] : fields_) {
    out += name + ":" + std::string(widest - display_width(name) + 1, ' ');
    const std::string indent = "\n" + std::string(widest + 2, ' ');
    for (const char character : value) character == '\n' ? out += indent : out += character;
    out += "\n";
  }
  return out;
}

}  // namespace agenttask::console
