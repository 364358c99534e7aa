// JSON, held against a second reader that knows the grammar alone.
#include "platform/protocol/json.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

using nlohmann::json;

/// RFC 8259, and no more: says whether a text is JSON, and how deep.
class Grammar {
 public:
  explicit Grammar(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);  // a mark that may be passed over
  }
  bool document() { return value() && rest_.empty(); }
  [[nodiscard]] std::size_t depth() const { return deepest_; }

 private:
  bool take(char wanted) {
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view wanted) {
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(wanted.size());
    return true;
  }
  void blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  bool value() {
    blanks();
    const bool read = !rest_.empty() && value_of(rest_.front());
    blanks();
    return read;
  }
  bool value_of(char first) {
    switch (first) {
      case '"':
        return string();
      case '[':
        return list('[', ']');
      case '{':
        return list('{', '}');
      case 'n':
        return take("null");
      case 't':
        return take("true");
      case 'f':
        return take("false");
      default:
        return number();
    }
  }
  bool list(char open, char close) {
    if (depth_ > 1000 || !take(open)) return false;  // what is deeper is refused as such
    deepest_ = std::max(deepest_, ++depth_);
    blanks();
    if (!take(close)) {
      do {
        blanks();
        if (open == '{' && !(string() && (blanks(), take(':')))) return false;
        if (!value()) return false;
      } while (take(','));
      if (!take(close)) return false;
    }
    --depth_;
    return true;
  }
  bool string() {
    if (!take('"')) return false;
    const auto begin = rest_;
    while (!rest_.empty() && rest_.front() != '"') {
      const char letter = rest_.front();
      if (static_cast<unsigned char>(letter) < 0x20) return false;
      rest_.remove_prefix(1);
      if (letter == '\\' && !escape()) return false;
    }
    return is_utf8(begin.substr(0, begin.size() - rest_.size())) && take('"');
  }
  bool escape() {
    if (rest_.empty()) return false;
    if (!take('u')) {
      const bool known = std::string_view("\"\\/bfnrt").find(rest_.front()) != std::string_view::npos;
      rest_.remove_prefix(1);
      return known;
    }
    const auto unit = code_unit();
    if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return false;
    if (unit < 0xD800 || unit > 0xDBFF) return true;
    if (!take("\\u")) return false;
    const auto second = code_unit();
    return second >= 0xDC00 && second <= 0xDFFF;
  }
  int code_unit() {
    int unit = 0;
    if (rest_.size() < 4) return -1;
    const auto parsed = std::from_chars(rest_.data(), rest_.data() + 4, unit, 16);
    if (parsed.ptr != rest_.data() + 4 || rest_.front() == '-') return -1;
    rest_.remove_prefix(4);
    return unit;
  }
  std::size_t digits() {
    const auto count = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    rest_.remove_prefix(count);
    return count;
  }
  bool number() {
    (void)take('-');
    if (!take('0') && digits() == 0) return false;
    if (take('.') && digits() == 0) return false;
    if (take('e') || take('E')) {
      if (!take('+')) (void)take('-');
      if (digits() == 0) return false;
    }
    return true;
  }

  std::string_view rest_;
  std::size_t depth_ = 0;
  std::size_t deepest_ = 0;
};

void hold_number(const std::string& literal, double wanted) {
  const auto value = parse_json(literal);
  hold(static_cast<bool>(value), "a double is taken in the words in which it is kept exactly", literal);
  const auto given = value->get<double>();
  hold(std::memcmp(&given, &wanted, sizeof given) == 0, "a double keeps all its bits", literal);
}

}  // namespace

void json_text(std::string_view bytes) {
  Grammar grammar(bytes);
  const bool is_json = grammar.document();
  const auto value = read_json(bytes);
  if (!value) {
    if (value.error().code == ErrorCode::limit) return;
    hold(!is_json || !value.error().message.starts_with("not JSON"),
         "what is JSON is not called anything else", value.error().message);
    return;
  }
  hold(is_json, "what is taken is JSON, all of it");
  hold(grammar.depth() <= limits::kJsonDepth, "the depth is bounded");
  const std::string text = encode_json(*value);
  const auto again = parse_json(text);
  hold(static_cast<bool>(again), "what was taken is taken again", text);
  hold(*again == *value && encode_json(*again) == text, "what was taken is kept exactly", text);
  if (value->is_object()) {
    json merged = *value;
    merge_keys(merged, *value);
    for (const auto& [key, member] : merged.items()) hold(!member.is_null(), "a merge leaves no null behind");
  }
}

void numbers(std::string_view bytes) {
  std::array<char, 8> bits{};
  bytes.copy(bits.data(), bits.size());
  std::int64_t whole = 0;
  std::uint64_t positive = 0;
  double wide = 0;
  std::memcpy(&whole, bits.data(), sizeof whole);
  std::memcpy(&positive, bits.data(), sizeof positive);
  std::memcpy(&wide, bits.data(), sizeof wide);
  const auto kept = parse_json(std::to_string(whole));
  hold(kept && *kept == json(whole) && encode_json(*kept) == std::to_string(whole),
       "an int64 is kept exactly");
  const auto kept_positive = parse_json(std::to_string(positive));
  hold(kept_positive && *kept_positive == json(positive), "a uint64 is kept exactly");
  if (!std::isfinite(wide)) return;
  hold_number(encode_json(json(wide)), wide);
  std::array<char, 40> shortest{};
  const auto end =
      std::to_chars(shortest.data(), shortest.data() + shortest.size(), wide, std::chars_format::scientific);
  hold_number({shortest.data(), end.ptr}, wide);
  std::array<char, 40> longest{};
  const int length = std::snprintf(longest.data(), longest.size(), "%.16e", wide);
  hold_number({longest.data(), static_cast<std::size_t>(length)}, wide);
}

}  // namespace agenttask::fuzz
