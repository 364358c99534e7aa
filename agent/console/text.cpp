#include "agent/console/text.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace agenttask::console {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

/// East Asian wide and fullwidth characters, and emoji (Unicode 15, coarse: blocks, not single characters).
constexpr std::array<Range, 14> kWide{{{0x1100, 0x115F},
                                       {0x2E80, 0x303E},
                                       {0x3041, 0x33FF},
                                       {0x3400, 0x4DBF},
                                       {0x4E00, 0x9FFF},
                                       {0xA000, 0xA4CF},
                                       {0xAC00, 0xD7A3},
                                       {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60},
                                       {0xFFE0, 0xFFE6},
                                       {0x1F300, 0x1F64F},
                                       {0x1F680, 0x1FAFF},
                                       {0x20000, 0x3FFFD}}};
/// Combining marks, zero-width joiners and variation selectors.
constexpr std::array<Range, 9> kZero{{{0x0300, 0x036F},
                                      {0x0483, 0x0489},
                                      {0x0591, 0x05BD},
                                      {0x064B, 0x065F},
                                      {0x1AB0, 0x1AFF},
                                      {0x1DC0, 0x1DFF},
                                      {0x20D0, 0x20FF},
                                      {0xFE00, 0xFE0F},
                                      {0xFE20, 0xFE2F}}};

template <std::size_t Count>
bool within(const std::array<Range, Count>& ranges, char32_t character) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const Range& range) { return character >= range.first && character <= range.last; });
}

/// What a terminal or a reader could be deceived by: C0 and C1 controls, separators, direction marks,
/// invisible ones.
bool is_unsafe(char32_t character) {
  return character < 0x20 || (character >= 0x7F && character < 0xA0) || character == 0xAD ||
         (character >= 0x200B && character <= 0x200F) || (character >= 0x2028 && character <= 0x202E) ||
         (character >= 0x2060 && character <= 0x206F) || character == 0xFEFF ||
         (character >= 0xE0000 && character <= 0xE007F);
}

struct Decoded {
  char32_t character = 0;
  std::size_t length = 0;  ///< 0: not UTF-8
};

Decoded decode(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  std::size_t length = 0;
  char32_t character = 0;
  char32_t least = 0;
  if ((lead & 0xE0) == 0xC0) {
    length = 2, character = lead & 0x1FU, least = 0x80;
  } else if ((lead & 0xF0) == 0xE0) {
    length = 3, character = lead & 0x0FU, least = 0x800;
  } else if ((lead & 0xF8) == 0xF0) {
    length = 4, character = lead & 0x07U, least = 0x10000;
  } else {
    return {};
  }
  if (text.size() < length) return {};
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xC0) != 0x80) return {};
    character = (character << 6) | (byte(at) & 0x3FU);
  }
  const bool surrogate = character >= 0xD800 && character <= 0xDFFF;
  if (character < least || character > 0x10FFFF || surrogate) return {};
  return {character, length};
}

void append_escaped(std::string& out, char32_t character) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  switch (character) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  const int digits = character < 0x100 ? 2 : character < 0x10000 ? 4 : 8;
  out += character < 0x100 ? "\\x" : character < 0x10000 ? "\\u" : "\\U";
  for (int digit = digits - 1; digit >= 0; --digit) out += kDigits[(character >> (4 * digit)) & 0xFU];
}

std::string make_printable(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded decoded = decode(text);
    const std::size_t length = std::max<std::size_t>(decoded.length, 1);
    const bool kept_break = keep_lines && (decoded.character == '\n' || decoded.character == '\t');
    if (decoded.length == 0) {
      append_escaped(out, static_cast<unsigned char>(text.front()));
    } else if (is_unsafe(decoded.character) && !kept_break) {
      append_escaped(out, decoded.character);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  return out;
}

std::size_t width_of(const Decoded& decoded) {
  if (decoded.length == 0) return 1;
  if (within(kZero, decoded.character)) return 0;
  return within(kWide, decoded.character) ? 2 : 1;
}

}  // namespace

std::string printable(std::string_view text) {
  return make_printable(text, false);
}

std::string printable_lines(std::string_view text) {
  return make_printable(text, true);
}

std::string shell_quoted(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:=@%+/";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) return std::string(text);
  std::string out = "'";
  for (const char character : text) {
    out += character == '\'' ? std::string("'\\''") : std::string(1, character);
  }
  return out + "'";
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Decoded decoded = decode(text);
    width += width_of(decoded);
    text.remove_prefix(std::max<std::size_t>(decoded.length, 1));
  }
  return width;
}

std::string shorten(std::string_view text, std::size_t columns) {
  if (display_width(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  std::string out;
  std::size_t width = 0;
  while (!text.empty()) {
    const Decoded decoded = decode(text);
    const std::size_t length = std::max<std::size_t>(decoded.length, 1);
    if (width + width_of(decoded) > columns - 1) break;
    width += width_of(decoded);
    out.append(text.substr(0, length));
    text.remove_prefix(length);
  }
  return out + "…";
}

}  // namespace agenttask::console
