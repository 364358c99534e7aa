#include "platform/protocol/json.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "platform/base/error_text.hpp"

namespace agenttask {
namespace {

using nlohmann::json;

/// The significant digits of a JSON number, without leading zeros (trailing ones stay: they are claimed
/// precision).
std::string significant_digits(std::string_view literal) {
  std::string digits;
  for (const char c : literal) {
    if (c == 'e' || c == 'E') break;
    if (c >= '0' && c <= '9' && !(digits.empty() && c == '0')) digits += c;
  }
  return digits;
}

/// Whether these are the digits in which programs write this double: the fewest that mean no other one. They
/// are not always what rounding to as many digits gives, as for 5.684341886080802e-14, which is 2^-44.
bool is_usual_spelling(double value, const std::string& digits) {
  std::array<char, 32> shortest{};
  const auto written =
      std::to_chars(shortest.data(), shortest.data() + shortest.size(), value, std::chars_format::scientific);
  const auto length = static_cast<std::size_t>(written.ptr - shortest.data());
  return digits == significant_digits({shortest.data(), length}) ||
         digits == significant_digits(json(value).dump());  // and as encode_json writes it
}

/// Whether the double prints the literal back at the literal's own precision, or as it is usually written.
bool is_kept_exactly(double value, std::string_view literal) {
  const std::string digits = significant_digits(literal);
  if (digits.empty()) return value == 0;  // 0.0, 0e5
  if (value == 0) return false;           // underflow
  constexpr std::size_t enough = 800;     // no double has more significant digits than 767
  if (digits.size() > enough) return false;
  std::array<char, enough + 32> printed{};
  const int length =
      std::snprintf(printed.data(), printed.size(), "%.*e", static_cast<int>(digits.size()) - 1, value);
  if (length <= 0 || static_cast<std::size_t>(length) >= printed.size()) return false;
  return significant_digits({printed.data(), static_cast<std::size_t>(length)}) == digits ||
         is_usual_spelling(value, digits);
}

/// Builds the document while the parser reads it, and stops at the first thing that must be refused.
class StrictBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit StrictBuilder(std::size_t depth) : depth_(depth) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& literal) override {
    if (literal.find_first_of(".eE") == std::string::npos) {
      return refuse("the integer " + shorten(literal) + " does not fit 64 bits; send it as a string");
    }
    if (!is_kept_exactly(value, literal)) {
      return refuse("the number " + shorten(literal) +
                    " can't be kept exactly in a 64-bit double; send it as a string");
    }
    return add(value);
  }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }

  bool start_object(std::size_t /*size*/) override { return open(json::object()); }
  bool key(string_t& value) override {
    if (stack_.back()->contains(value)) {
      error_.field = excerpt(value, 200);
      return refuse("the key \"" + shorten(value) + "\" stands twice in one object");
    }
    key_ = std::move(value);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*size*/) override { return open(json::array()); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const json::exception& problem) override {
    std::string_view what = problem.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while …": people want
    // the last part.
    if (const auto colon = what.find(": "); colon != std::string_view::npos) what.remove_prefix(colon + 2);
    if (problem.id == 406) return refuse("a number is too large for a 64-bit double; send it as a string");
    // The parser quotes what it last read, which may be long and is not always UTF-8.
    if (const auto last = what.find("; last read"); last != std::string_view::npos)
      what = what.substr(0, last);
    return refuse("not JSON at byte " + std::to_string(position) + ": " + std::string(what));
  }

  Result<json> take(bool parsed) {
    if (parsed) return std::move(root_);
    if (error_.message.empty()) error_.message = "not JSON";
    return error_;
  }

 private:
  static std::string shorten(const std::string& text) {
    return text.size() <= 60 ? text : excerpt(text, 57) + "...";
  }

  bool refuse(std::string message) {
    error_.message = std::move(message);
    return false;
  }

  template <class Value>
  json* place(Value&& value) {
    if (stack_.empty()) {
      root_ = std::forward<Value>(value);
      return &root_;
    }
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::forward<Value>(value));
      return &parent.back();
    }
    return &(parent[key_] = std::forward<Value>(value));
  }

  template <class Value>
  bool add(Value&& value) {
    place(std::forward<Value>(value));
    return true;
  }

  bool open(json container) {
    if (stack_.size() == depth_) {
      error_.code = ErrorCode::limit;
      return refuse("nested deeper than " + std::to_string(depth_) + " levels");
    }
    stack_.push_back(place(std::move(container)));
    return true;
  }

  bool close() {
    stack_.pop_back();
    return true;
  }

  std::size_t depth_;
  json root_;
  std::vector<json*> stack_;
  std::string key_;
  Error error_{ErrorCode::invalid, {}};
};

}  // namespace

Result<json> parse_json(std::string_view text, std::size_t depth) {
  // The parser takes a zero byte for the end of the text, and would not look at what is behind.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    return Error{ErrorCode::invalid, "not JSON at byte " + std::to_string(zero + 1) + ": a zero byte"};
  StrictBuilder builder(depth);
  const bool parsed = json::sax_parse(text, &builder);
  return builder.take(parsed);
}

std::string encode_json(const json& value) {
  return value.dump();
}

void merge_keys(json& target, const json& patch) {
  for (const auto& [key, value] : patch.items()) {
    if (value.is_null()) {
      target.erase(key);
    } else {
      target[key] = value;
    }
  }
}

}  // namespace agenttask
