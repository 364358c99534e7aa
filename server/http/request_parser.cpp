#include "server/http/request_parser.hpp"

#include <algorithm>
#include <array>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "server/http/target.hpp"

namespace agenttask::server {
namespace {

namespace http = boost::beast::http;
using boost::beast::iequals;
using BeastError = boost::beast::error_code;
using BeastView = boost::beast::string_view;

/// Methods that exist here; a route that lacks one answers 405 itself.
constexpr std::array<std::string_view, 7> kMethods{"GET",   "HEAD",   "POST",   "PUT",
                                                   "PATCH", "DELETE", "OPTIONS"};
/// Fields of which two would be one too many: which of them counts is for nobody to guess.
constexpr std::array<std::string_view, 9> kSingle{
    "host",   "content-length",  "transfer-encoding", "content-type", "authorization",
    "expect", "idempotency-key", "content-encoding",  "if-match"};
/// The longest line or trailer between chunks.
constexpr std::size_t kChunkLineBytes = 4096;
/// `0`, CRLF, CRLF: no chunked body ends with less.
constexpr std::size_t kLastChunkBytes = 5;

std::string lower(std::string_view text) {
  std::string result(text);
  for (auto& byte : result) {
    if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
  }
  return result;
}

Problem malformed(std::string detail, std::string field = {}) {
  return Problem{400, "malformed-request", std::move(detail), std::move(field)};
}

}  // namespace

class RequestParser::Body final : public http::basic_parser<true> {
 public:
  explicit Body(std::size_t header_bytes) : header_bytes_(header_bytes) {
    header_limit(static_cast<std::uint32_t>(header_bytes));
    body_limit(boost::none);  // announced lengths are held against the limit once it is known
  }

  Progress feed(std::string& bytes);
  void limit(std::size_t most);
  Problem header_problem() const;
  Problem problem_of(const BeastError& error) const;

  std::shared_ptr<Request> request = std::make_shared<Request>();
  Problem problem;
  bool head = false;
  bool http_1_0 = false;
  bool expects_continue = false;
  bool announced = false;  ///< `header` was answered
  bool refused = false;

 private:
  Progress refuse(Problem what) {
    problem = std::move(what);
    refused = true;
    return Progress::refused;
  }
  Progress after_header();

  void on_request_impl(http::verb, BeastView method, BeastView target, int version, BeastError&) override {
    request->method.assign(method.data(), method.size());
    target_.assign(target.data(), target.size());
    http_1_0 = version == 10;
  }
  void on_field_impl(http::field, BeastView name, BeastView value, BeastError& error) override;
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, BeastError&) override {}
  std::size_t on_body_impl(BeastView body, BeastError&) override {
    request->body.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastView, BeastError&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView body, BeastError&) override {
    request->body.append(body.data(), body.size());
    return body.size();
  }
  void on_finish_impl(BeastError&) override {}
  void on_response_impl(int, BeastView, int, BeastError&) override {}

  std::size_t header_bytes_;
  std::size_t header_taken_ = 0;
  std::size_t most_ = 0;
  std::string target_;
  Problem field_problem_;
};

void RequestParser::Body::on_field_impl(http::field, BeastView name, BeastView value, BeastError& error) {
  if (is_header_done()) return;  // trailers say nothing to us
  auto key = lower({name.data(), name.size()});
  const std::string_view text(value.data(), value.size());
  const auto [found, added] = request->headers.try_emplace(key, text);
  if (added) return;
  if (std::find(kSingle.begin(), kSingle.end(), key) != kSingle.end()) {
    field_problem_ = malformed("the header field " + key + " may be given once only", key);
    error = http::error::bad_field;
    return;
  }
  found->second.append(key == "cookie" ? "; " : ", ").append(text);
}

Problem RequestParser::Body::problem_of(const BeastError& error) const {
  if (!field_problem_.code.empty()) return field_problem_;
  if (error == http::error::header_limit) {
    return Problem{431, "header-too-large",
                   "the request's header is larger than " + std::to_string(header_bytes_) + " bytes"};
  }
  if (error == http::error::body_limit) {
    return Problem{413, "body-too-large",
                   "the request's body is larger than " + std::to_string(most_) + " bytes"};
  }
  if (error == http::error::bad_version) {
    return Problem{505, "http-version", "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  }
  return malformed("the request is not HTTP: " + error.message());
}

/// What Beast lets pass and we don't. `status` 0: nothing.
Problem RequestParser::Body::header_problem() const {
  const auto& fields = request->headers;
  if (std::find(kMethods.begin(), kMethods.end(), request->method) == kMethods.end()) {
    return Problem{501, "unknown-method",
                   "the method " + request->method.substr(0, 32) + " is not known here"};
  }
  const auto host = fields.find("host");
  const auto in_host = [](char byte) {
    return byte > ' ' && byte < 0x7f && std::string_view("/\\@?#,").find(byte) == std::string_view::npos;
  };
  if (host == fields.end() ? !http_1_0 : !std::all_of(host->second.begin(), host->second.end(), in_host)) {
    return malformed("the header field host is missing or malformed", "host");
  }
  const auto length = fields.find("content-length");
  const auto encoding = fields.find("transfer-encoding");
  if (encoding != fields.end()) {
    if (length != fields.end()) return malformed("content-length and transfer-encoding exclude each other");
    if (http_1_0) return malformed("HTTP/1.0 has no transfer-encoding", "transfer-encoding");
    if (!iequals(encoding->second, "chunked")) {
      return Problem{501, "unknown-transfer-encoding", "the only transfer-encoding known here is chunked"};
    }
  }
  const auto is_digit = [](char byte) { return byte >= '0' && byte <= '9'; };
  if (length != fields.end() && (length->second.empty() || length->second.size() > 18 ||
                                 !std::all_of(length->second.begin(), length->second.end(), is_digit))) {
    return malformed("content-length is not a number", "content-length");
  }
  const auto expect = fields.find("expect");
  if (expect != fields.end() && !iequals(expect->second, "100-continue")) {
    return Problem{417, "unknown-expectation", "the only expectation known here is 100-continue"};
  }
  const auto coding = fields.find("content-encoding");
  if (coding != fields.end() && !iequals(coding->second, "identity")) {
    return Problem{415, "unknown-content-encoding", "bodies have to come as they are, not compressed"};
  }
  return Problem{0, {}, {}};
}

RequestParser::Progress RequestParser::Body::after_header() {
  announced = true;
  if (auto found = header_problem(); found.status != 0) return refuse(std::move(found));
  if (target_ == "*" && request->method == "OPTIONS") {
    request->path = "*";
  } else {
    auto target = server::parse_target(target_);
    if (!target) return refuse(malformed(target.error().message));
    request->path = std::move(target->path);
    request->segments = std::move(target->segments);
    request->query = std::move(target->query);
  }
  target_ = {};
  head = request->method == "HEAD";
  if (head) request->method = "GET";
  const auto expect = request->headers.find("expect");
  expects_continue = expect != request->headers.end() && !http_1_0 && !is_done();
  return is_done() ? Progress::complete : Progress::header;
}

RequestParser::Progress RequestParser::Body::feed(std::string& bytes) {
  if (refused) return Progress::refused;
  std::size_t taken = 0;
  Progress progress = Progress::more;
  while (true) {
    // Beast takes for granted that a last chunk is seen with all its five bytes, and asserts it.
    if (announced && chunked() && bytes.size() - taken < kLastChunkBytes) break;
    BeastError error;
    const auto used = put(boost::asio::const_buffer(bytes.data() + taken, bytes.size() - taken), error);
    taken += used;
    if (!announced) header_taken_ += used;
    if (error && error != http::error::need_more) {
      progress = refuse(problem_of(error));
      break;
    }
    if (!announced && is_header_done()) {
      progress =
          header_taken_ > header_bytes_ ? refuse(problem_of(http::error::header_limit)) : after_header();
      break;
    }
    if (is_done()) {
      progress = Progress::complete;
      break;
    }
    const auto left = bytes.size() - taken;
    if (error == http::error::need_more || left == 0) {
      // Beast keeps an unfinished line in our buffer; nothing but this bounds it.
      if (!announced && header_taken_ + left > header_bytes_)
        progress = refuse(problem_of(http::error::header_limit));
      if (announced && left > kChunkLineBytes)
        progress = refuse(malformed("a line between chunks is too long"));
      break;
    }
  }
  bytes.erase(0, taken);
  return progress;
}

void RequestParser::Body::limit(std::size_t most) {
  most_ = most;
  const auto length = content_length();
  if (length && *length > most) {
    refuse(problem_of(http::error::body_limit));
    return;
  }
  body_limit(most);
}

RequestParser::RequestParser(std::size_t header_bytes) : body_(std::make_unique<Body>(header_bytes)) {}
RequestParser::~RequestParser() = default;

RequestParser::Progress RequestParser::put(std::string& bytes) {
  return body_->feed(bytes);
}
void RequestParser::limit_body(std::size_t bytes) {
  body_->limit(bytes);
}
const Request& RequestParser::request() const {
  return *body_->request;
}
std::shared_ptr<Request> RequestParser::take() {
  return std::move(body_->request);
}
const Problem& RequestParser::problem() const {
  return body_->problem;
}
bool RequestParser::keep_alive() const {
  return body_->keep_alive();
}
bool RequestParser::is_http_1_0() const {
  return body_->http_1_0;
}
bool RequestParser::is_head() const {
  return body_->head;
}
bool RequestParser::expects_continue() const {
  return body_->expects_continue;
}

}  // namespace agenttask::server
