#include "platform/base/error_text.hpp"

#include <cctype>

#include "platform/base/encoding.hpp"

namespace agenttask {
namespace {

bool is_part_of_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

/// As a word of its own: "id" is none of "invalid".
bool names(std::string_view message, std::string_view word) {
  for (std::size_t at = message.find(word); at != std::string_view::npos; at = message.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || !is_part_of_word(message[at - 1]);
    if (begins && (end == message.size() || !is_part_of_word(message[end]))) return true;
  }
  return false;
}

}  // namespace

std::string with_field(std::string_view field, std::string_view message) {
  if (field.empty() || names(message, field)) return std::string(message);
  return std::string(field).append(": ").append(message);
}

std::string excerpt(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  const auto begin = text.substr(0, most);
  return std::string(begin.substr(0, begin.size() - incomplete_utf8_tail(begin)));
}

}  // namespace agenttask
