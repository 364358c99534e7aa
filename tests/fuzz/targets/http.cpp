// What comes over the server's sockets, before anybody knows who sends it.
#include <algorithm>

#include "platform/base/encoding.hpp"
#include "platform/net/url.hpp"
#include "server/http/request_parser.hpp"
#include "server/http/target.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

using server::Request;
using server::RequestParser;
using Progress = RequestParser::Progress;

constexpr std::size_t kHeaderBytes = 1024;
constexpr std::size_t kBodyBytes = 1024;

struct Parsed {
  Progress progress = Progress::more;
  std::shared_ptr<Request> request;  ///< of one that is complete
  Problem problem;
  std::string left;
  bool head = false;
  bool http_1_0 = false;
};

/// Feeds a parser of its own with `text` in pieces of `step` bytes.
Parsed parse(std::string_view text, std::size_t step) {
  RequestParser parser(kHeaderBytes);
  Parsed parsed;
  while (parsed.progress == Progress::more && !text.empty()) {
    parsed.left += text.substr(0, step);
    text.remove_prefix(std::min(step, text.size()));
    parsed.progress = parser.put(parsed.left);
    if (parsed.progress == Progress::header) {
      parser.limit_body(kBodyBytes);
      parsed.progress = parser.put(parsed.left);
    }
  }
  parsed.left += text;
  parsed.problem = parser.problem();
  parsed.head = parser.is_head();
  parsed.http_1_0 = parser.is_http_1_0();
  if (parsed.progress == Progress::complete) parsed.request = parser.take();
  return parsed;
}

bool same(const Request& one, const Request& other) {
  return one.method == other.method && one.path == other.path && one.segments == other.segments &&
         one.query == other.query && one.headers == other.headers && one.body == other.body;
}

void hold_path(const std::string& path, const std::vector<std::string>& segments) {
  std::string joined;
  for (const auto& segment : segments) {
    hold(segment != "." && segment != ".." && segment.find_first_of("/\\") == std::string::npos,
         "a segment is only a name", segment);
    hold(
        std::all_of(segment.begin(), segment.end(),
                    [](char letter) { return static_cast<unsigned char>(letter) >= 0x20 && letter != 0x7f; }),
        "a segment has no control characters");
    hold(is_utf8(segment), "a segment is UTF-8");
    joined += '/' + segment;
  }
  hold(path == (joined.empty() ? "/" : joined), "a path is its segments", path);
}

std::string written_target(const std::vector<std::string>& segments,
                           const std::vector<std::pair<std::string, std::string>>& query) {
  std::string text;
  for (const auto& segment : segments) text += '/' + net::percent_encode(segment);
  if (text.empty()) text = "/";
  char before = '?';
  for (const auto& [name, value] : query) {
    text += before + net::percent_encode(name) + '=' + net::percent_encode(value);
    before = '&';
  }
  return text;
}

/// The same request, in the plainest of its spellings.
std::string written(const Parsed& parsed) {
  const Request& request = *parsed.request;
  std::string text = parsed.head ? "HEAD" : request.method;
  text += ' ' + (request.path == "*" ? "*" : written_target(request.segments, request.query));
  text += parsed.http_1_0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n";
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  text += "\r\n";
  if (!request.headers.contains("transfer-encoding")) return text + request.body;
  if (!request.body.empty()) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string size;
    for (std::size_t left = request.body.size(); left != 0; left /= 16) size.insert(0, 1, kDigits[left % 16]);
    text += size + "\r\n" + request.body + "\r\n";
  }
  return text + "0\r\n\r\n";
}

void hold_request(const Parsed& parsed) {
  const Request& request = *parsed.request;
  if (request.path != "*") hold_path(request.path, request.segments);
  hold(request.body.size() <= kBodyBytes, "a body is bounded");
  std::size_t header = 0;
  for (const auto& [name, value] : request.headers) {
    hold(!name.empty() && name.find_first_of(" \t:\r\n") == std::string::npos, "a field has a name", name);
    hold(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos, "a field is one line",
         value);
    header += name.size() + value.size();
  }
  hold(header <= 2 * kHeaderBytes, "a header is bounded");
  const auto length = request.headers.find("content-length");
  if (length != request.headers.end())
    hold(std::stoull(length->second) == request.body.size(), "a body is as long as announced");
}

}  // namespace

void http_request(std::string_view bytes) {
  const std::size_t step = bytes.empty() ? 1 : 1 + static_cast<unsigned char>(bytes.front()) % 64;
  // A connection carries one request after the other: a few of them.
  for (int requests = 0; requests < 4 && !bytes.empty(); ++requests) {
    const auto whole = parse(bytes, bytes.size());
    const auto pieces = parse(bytes, step);
    // What is malformed near the end of a header may be noticed now, or when more comes.
    hold((whole.progress == Progress::complete) == (pieces.progress == Progress::complete),
         "how a request is cut into pieces changes nothing");
    if (whole.progress == Progress::refused) {
      hold(whole.problem.status >= 400 && whole.problem.status < 600 && !whole.problem.code.empty() &&
               !whole.problem.detail.empty(),
           "a refused request is told why");
    }
    if (whole.progress != Progress::complete) return;
    hold(same(*whole.request, *pieces.request) && whole.left == pieces.left,
         "how a request is cut into pieces changes nothing of it");
    hold(bytes.ends_with(whole.left) && whole.left.size() < bytes.size(),
         "what is left is the next request's");
    hold_request(whole);
    const auto text = written(whole);
    if (text.size() <= kHeaderBytes) {
      const auto again = parse(text, text.size());
      hold(again.progress == Progress::complete && again.left.empty() && same(*again.request, *whole.request),
           "a request that was taken is taken again as it is", text);
    }
    bytes = bytes.substr(bytes.size() - whole.left.size());
  }
}

void request_target(std::string_view bytes) {
  const auto target = server::parse_target(bytes);
  if (!target) return hold_refusal(target.error());
  hold_path(target->path, target->segments);
  for (const auto& [name, value] : target->query) {
    hold(is_utf8(name) && is_utf8(value) && name.find('\0') == std::string::npos &&
             value.find('\0') == std::string::npos,
         "parameters are text");
  }
  const auto text = written_target(target->segments, target->query);
  const auto again = server::parse_target(text);
  hold(again && again->segments == target->segments && again->query == target->query,
       "a target that was taken is taken again as it is", text);
}

}  // namespace agenttask::fuzz
