#include "server/http/target.hpp"

#include <algorithm>
#include <optional>

#include "platform/base/encoding.hpp"

namespace agenttask::server {
namespace {

Error refused(std::string message) {
  return Error{ErrorCode::invalid, "the request's target is refused: " + std::move(message)};
}

std::optional<unsigned> hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<unsigned>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<unsigned>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<unsigned>(digit - 'A' + 10);
  return std::nullopt;
}

bool is_control(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value < 0x20 || value == 0x7f;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    char byte = text[at];
    if (byte == '%') {
      const auto high = at + 2 < text.size() ? hex_digit(text[at + 1]) : std::nullopt;
      const auto low = at + 2 < text.size() ? hex_digit(text[at + 2]) : std::nullopt;
      if (!high || !low) return refused("a % must be followed by two hexadecimal digits");
      byte = static_cast<char>(*high * 16 + *low);
      at += 2;
    } else if (byte == '+' && plus_is_space) {
      byte = ' ';
    }
    if (byte == '\0' || (is_control(byte) && !plus_is_space)) return refused("it holds a control character");
    decoded += byte;
  }
  if (!is_utf8(decoded)) return refused("it is not UTF-8");
  return decoded;
}

Result<std::string> decode_segment(std::string_view text) {
  auto segment = decode(text, false);
  if (!segment) return segment;
  if (*segment == "." || *segment == "..") return refused("it holds a segment . or ..");
  if (segment->find_first_of("/\\") != std::string::npos) return refused("it holds an escaped slash");
  return segment;
}

/// What follows the host in `https://host/path`; the whole text where it begins with a slash.
Result<std::string_view> origin_form(std::string_view target) {
  if (target.starts_with('/')) return target;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto path = target.find_first_of("/?", scheme.size());
    if (path == std::string_view::npos) return std::string_view("/");
    if (target[path] == '/') return target.substr(path);
    break;
  }
  return refused("it has to begin with a slash");
}

Result<void> parse_path(std::string_view path, Target& target) {
  path.remove_prefix(1);
  while (!path.empty()) {
    const auto slash = path.find('/');
    auto segment = decode_segment(path.substr(0, slash));
    if (!segment) return segment.error();
    target.path += '/' + *segment;
    target.segments.push_back(std::move(*segment));
    if (slash == std::string_view::npos) return {};
    path.remove_prefix(slash + 1);
    if (path.empty()) {  // a slash at the end names another, empty segment
      target.path += '/';
      target.segments.emplace_back();
    }
  }
  if (target.segments.empty()) target.path = "/";
  return {};
}

Result<void> parse_query(std::string_view query, Target& target) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto item = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (item.empty()) continue;
    const auto equals = std::min(item.find('='), item.size());
    auto name = decode(item.substr(0, equals), true);
    if (!name) return name.error();
    auto value = decode(item.substr(std::min(equals + 1, item.size())), true);
    if (!value) return value.error();
    target.query.emplace_back(std::move(*name), std::move(*value));
  }
  return {};
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  const auto plain = [](char byte) { return byte > 0x20 && byte < 0x7f; };
  if (!std::all_of(text.begin(), text.end(), plain)) {
    return refused("what is not printable ASCII has to be percent-encoded");
  }
  if (text.find('#') != std::string_view::npos) return refused("it holds a fragment");
  auto origin = origin_form(text);
  if (!origin) return origin.error();
  const auto question = std::min(origin->find('?'), origin->size());
  Target target;
  if (auto done = parse_path(origin->substr(0, question), target); !done) return done.error();
  if (question < origin->size()) {
    if (auto done = parse_query(origin->substr(question + 1), target); !done) return done.error();
  }
  return target;
}

}  // namespace agenttask::server
