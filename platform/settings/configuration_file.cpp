#include "platform/settings/configuration_file.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include <CLI/CLI.hpp>

#include "platform/settings/values.hpp"

namespace agenttask::settings {
namespace {

using Text = std::string_view;
constexpr Text kWhite = " \t";

bool is_quote(char letter) {
  return letter == '"' || letter == '\'';
}

/// Ends before a # that begins a comment: at the begin or after white space, and not in quotes.
Text without_comment(Text line) {
  char before = ' ';
  for (std::size_t at = 0; at < line.size(); before = line[at++]) {
    const bool begins = kWhite.find(before) != Text::npos;
    if (line[at] == '#' && begins) return line.substr(0, at);
    if (!is_quote(line[at]) || !(begins || before == '=' || before == ',' || before == '[')) continue;
    const auto end = line.find(line[at], at + 1);
    if (end != Text::npos) at = end;
  }
  return line;
}

Text without_quotes(Text text) {
  const bool quoted = text.size() > 1 && is_quote(text.front()) && text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

/// How many items there are between commas; nothing where a quotation mark lacks its partner, or stands
/// beside something else. The parser would guess there.
std::optional<std::size_t> count_items(Text text) {
  for (std::size_t count = 1;; ++count) {
    text = trimmed(text);
    std::size_t end = 0;
    if (!text.empty() && is_quote(text.front())) {
      end = text.find(text.front(), 1);
      if (end == Text::npos) return std::nullopt;
      end = std::min(text.find_first_not_of(kWhite, end + 1), text.size());
      if (end < text.size() && text[end] != ',') return std::nullopt;
    } else {
      end = std::min(text.find(','), text.size());
      if (text.substr(0, end).find_first_of("\"'`") != Text::npos) return std::nullopt;
    }
    if (end == text.size()) return count;
    text.remove_prefix(end + 1);
  }
}

/// CLI11's parser over one line. Its comments and arrays are switched off where they would mistake a # or a [
/// in a value ([::1]:8443) for theirs: control characters, which no line has, stand in for them.
std::vector<CLI::ConfigItem> parse_line(Text line, bool list) {
  CLI::ConfigTOML parser;
  parser.comment('\x01');
  if (!list) parser.arrayBounds('\x02', '\x03');
  std::istringstream stream{std::string(line)};
  return parser.from_config(stream);
}

Result<ConfigurationEntry> parse_entry(Text line) {
  const auto equals = line.find('=');
  const Error no_entry = expected("a line as \"name = value\"");
  if (line.front() == '[' && line.back() == ']' && equals == Text::npos)
    return Error{ErrorCode::invalid, "the section " + std::string(line) + " is not known: there are none"};
  const auto name = equals == Text::npos ? Text() : without_quotes(trimmed(line.substr(0, equals)));
  if (name.empty() || name.find_first_of(" \t\"'`[]#;") != Text::npos) return no_entry;
  const auto value = trimmed(line.substr(equals + 1));
  const bool brackets = value.size() > 1 && value.front() == '[' && value.back() == ']';
  bool list = brackets;
  if (brackets || (!value.empty() && is_quote(value.front()))) {
    const auto items = count_items(brackets ? value.substr(1, value.size() - 2) : value);
    if (!items) return expected("quotation marks around whole values");
    list = brackets || *items > 1;
  }
  std::vector<CLI::ConfigItem> parsed;
  try {
    parsed = parse_line(line, list);
  } catch (const CLI::Error& error) {
    return Error{ErrorCode::invalid, error.what()};
  }
  if (parsed.size() != 1) return no_entry;
  // As it stands there: the parser would take a name with dots apart.
  return ConfigurationEntry{std::string(name), parsed.front().inputs, 0};
}

bool has_control_characters(Text line) {
  return std::any_of(line.begin(), line.end(), [](char letter) {
    const auto byte = static_cast<unsigned char>(letter);
    return (byte < 0x20 && letter != '\t') || byte == 0x7f;
  });
}

}  // namespace

std::string configuration_place(const std::string& file, std::size_t line) {
  return file + " line " + std::to_string(line);
}

Result<std::vector<ConfigurationEntry>> parse_configuration(const std::string& file, std::string_view text) {
  if (text.size() > kConfigurationBytes) {
    return Error{ErrorCode::limit,
                 file + ": more than " + std::to_string(kConfigurationBytes) + " bytes of configuration"};
  }
  std::vector<ConfigurationEntry> entries;
  std::set<std::string> seen;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = trimmed(without_comment(trimmed(text.substr(0, end))));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == ';') continue;
    const auto place = configuration_place(file, number);
    if (has_control_characters(line)) return Error{ErrorCode::invalid, place + ": a control character in it"};
    auto entry = parse_entry(line);
    if (!entry) return with_context(entry.error(), place);
    if (!seen.insert(entry->name).second)
      return Error{ErrorCode::invalid, place + ": " + entry->name + " was given before", entry->name};
    entry->line = number;
    entries.push_back(*std::move(entry));
  }
  return entries;
}

std::string configuration_value(const std::string& value) {
  if (value.empty()) return value;
  // Quotes only where they are needed: a value with both kinds in it has none to spare.
  const bool list = value.front() == '[' && value.back() == ']';
  const bool plain =
      trimmed(value) == value && !is_quote(value.front()) && !list && without_comment(value) == value;
  if (plain) return value;
  const char quote = value.find('"') == std::string::npos ? '"' : '\'';
  return quote + value + quote;
}

}  // namespace agenttask::settings
