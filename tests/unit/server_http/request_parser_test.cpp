#include "server/http/request_parser.hpp"

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

using Progress = RequestParser::Progress;

constexpr std::size_t kHeader = 1024;
constexpr std::size_t kBody = 100;

struct Parsed {
  Progress progress = Progress::more;
  Problem problem;
  std::shared_ptr<Request> request;
  std::string left;
  bool keep_alive = false;
};

/// Feeds `text` in pieces of `step` bytes.
Parsed parse(std::string_view text, std::size_t step = std::string_view::npos) {
  RequestParser parser(kHeader);
  Parsed parsed;
  while (parsed.progress == Progress::more && !text.empty()) {
    const auto piece = text.substr(0, step);
    text.remove_prefix(piece.size());
    parsed.left += piece;
    parsed.progress = parser.put(parsed.left);
    if (parsed.progress == Progress::header) {
      parser.limit_body(kBody);
      parsed.progress = parser.put(parsed.left);
    }
  }
  parsed.left += text;
  if (parsed.progress == Progress::complete) {
    parsed.keep_alive = parser.keep_alive();
    parsed.request = parser.take();
  }
  parsed.problem = parser.problem();
  return parsed;
}

const std::string kHost = "Host: h\r\n";

std::string post(std::string_view fields, std::string_view body = {}) {
  return "POST /v1/x HTTP/1.1\r\n" + kHost + std::string(fields) + "\r\n" + std::string(body);
}

TEST(RequestParser, ReadsARequestInPiecesOfAnySize) {
  const auto text = post("Content-Length: 5\r\nX-One: a\r\nx-one: b\r\n", "hello");
  for (std::size_t step = 1; step <= text.size(); ++step) {
    const auto parsed = parse(text, step);
    ASSERT_EQ(parsed.progress, Progress::complete) << step;
    EXPECT_EQ(parsed.request->method, "POST");
    EXPECT_EQ(parsed.request->path, "/v1/x");
    EXPECT_EQ(parsed.request->body, "hello");
    EXPECT_EQ(parsed.request->headers.at("x-one"), "a, b");
    EXPECT_TRUE(parsed.keep_alive);
    EXPECT_TRUE(parsed.left.empty());
  }
}

TEST(RequestParser, ReadsChunksInPiecesOfAnySize) {
  const auto text =
      post("Transfer-Encoding: chunked\r\n", "3;x=\"y\"\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n");
  for (std::size_t step = 1; step <= text.size(); ++step) {
    const auto parsed = parse(text, step);
    ASSERT_EQ(parsed.progress, Progress::complete) << step << parsed.problem.detail;
    EXPECT_EQ(parsed.request->body, "hello");
    EXPECT_FALSE(parsed.request->headers.contains("x"));
  }
}

TEST(RequestParser, LeavesTheNextRequestAlone) {
  const auto one = post("Content-Length: 2\r\n", "hi");
  const auto parsed = parse(one + one);
  ASSERT_EQ(parsed.progress, Progress::complete);
  EXPECT_EQ(parsed.left, one);
}

TEST(RequestParser, HeaderAtTheLimitAndPastIt) {
  const std::string begin = "GET / HTTP/1.1\r\n" + kHost + "X: ";
  const std::string end = "\r\n\r\n";
  const std::string fill(kHeader - begin.size() - end.size(), 'x');
  EXPECT_EQ(parse(begin + fill + end).progress, Progress::complete);
  const std::string one_more = begin + fill + "x" + end;
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::string_view::npos}) {
    EXPECT_EQ(parse(one_more, step).problem.status, 431);
    EXPECT_EQ(
        parse("GET /" + std::string(kHeader, 'x') + " HTTP/1.1\r\n" + kHost + "\r\n", step).problem.status,
        431);
  }
}

TEST(RequestParser, HeadersWithoutEndAreCutOff) {
  RequestParser parser(kHeader);
  std::string bytes = "GET / HTTP/1.1\r\n";
  Progress progress = parser.put(bytes);
  for (int i = 0; progress == Progress::more && i < 1000; ++i) {
    bytes += "A: b\r\n";
    progress = parser.put(bytes);
    ASSERT_LE(bytes.size(), kHeader + 16);
  }
  EXPECT_EQ(progress, Progress::refused);
  EXPECT_EQ(parser.problem().status, 431);
}

TEST(RequestParser, BodyAtTheLimitAndPastIt) {
  const std::string body(kBody, 'b');
  EXPECT_EQ(parse(post("Content-Length: 100\r\n", body)).progress, Progress::complete);
  EXPECT_EQ(parse(post("Content-Length: 101\r\n")).problem.status, 413);
  EXPECT_EQ(parse(post("Content-Length: 999999999999999999\r\n")).problem.status, 413);
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "64\r\n" + body + "\r\n0\r\n\r\n")).progress,
            Progress::complete);
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "64\r\n" + body + "\r\n1\r\nb\r\n0\r\n\r\n"))
                .problem.status,
            413);
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "65\r\nbb")).problem.status, 413);
}

TEST(RequestParser, ChunksCanNotHideWhatIsTooLong) {
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "1;" + std::string(5000, 'x'))).problem.status, 400);
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "0\r\nX: " + std::string(5000, 'x'))).problem.status,
            400);
  EXPECT_EQ(parse(post("Transfer-Encoding: chunked\r\n", "10000000000000001\r\nx")).progress,
            Progress::refused);
}

TEST(RequestParser, LinesEndWithBothBytes) {
  EXPECT_EQ(parse("GET / HTTP/1.1\n" + kHost + "\n").progress, Progress::refused);
}

TEST(RequestParser, EmptyChunkedBodyInPiecesOfAnySize) {
  const auto text = post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n");
  for (std::size_t step = 1; step <= text.size(); ++step) {
    EXPECT_EQ(parse(text, step).progress, Progress::complete) << step;
  }
}

TEST(RequestParser, HeadIsAGetWithoutABody) {
  RequestParser parser(kHeader);
  std::string bytes = "HEAD / HTTP/1.1\r\n" + kHost + "\r\n";
  ASSERT_EQ(parser.put(bytes), Progress::complete);
  EXPECT_TRUE(parser.is_head());
  EXPECT_EQ(parser.request().method, "GET");
}

TEST(RequestParser, Http10NeedsNoHostAndEndsTheConnection) {
  const auto parsed = parse("GET / HTTP/1.0\r\n\r\n");
  ASSERT_EQ(parsed.progress, Progress::complete);
  EXPECT_FALSE(parsed.keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
}

TEST(RequestParser, ExpectsContinueOnlyWhereABodyIsToCome) {
  const auto expects = [](const std::string& text) {
    RequestParser parser(kHeader);
    std::string bytes = text;
    EXPECT_NE(parser.put(bytes), Progress::refused);
    return parser.expects_continue();
  };
  EXPECT_TRUE(expects(post("Expect: 100-continue\r\nContent-Length: 5\r\n")));
  EXPECT_FALSE(expects(post("Expect: 100-continue\r\nContent-Length: 0\r\n")));
  EXPECT_FALSE(expects(post("Content-Length: 5\r\n")));
}

struct Bad {
  std::string text;
  int status;
};
class RefusedRequest : public ::testing::TestWithParam<Bad> {};

TEST_P(RefusedRequest, HasAProblem) {
  for (const std::size_t step : {std::string_view::npos, std::size_t{1}}) {
    const auto parsed = parse(GetParam().text, step);
    ASSERT_EQ(parsed.progress, Progress::refused) << GetParam().text;
    EXPECT_EQ(parsed.problem.status, GetParam().status) << GetParam().text << parsed.problem.detail;
    EXPECT_FALSE(parsed.problem.code.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Malformed, RefusedRequest,
    ::testing::Values(
        Bad{"nonsense\r\n\r\n", 400}, Bad{"GET\r\n\r\n", 400},
        Bad{"GET  / HTTP/1.1\r\n" + kHost + "\r\n", 400}, Bad{"G@T / HTTP/1.1\r\n" + kHost + "\r\n", 400},
        Bad{"GET / HTTP/2.0\r\n" + kHost + "\r\n", 505}, Bad{"GET / HTTP/0.9\r\n\r\n", 505},
        Bad{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505}, Bad{"GET / HTTP/1.1\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400}, Bad{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\n" + kHost + kHost + "\r\n", 400},
        Bad{"GET / HTTP/1.1\r\n" + kHost + "No colon\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\n" + kHost + "A : b\r\n\r\n", 400},
        Bad{"GET / HTTP/1.1\r\n" + kHost + "A: b\nC: d\r\n\r\n", 400},
        Bad{std::string("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 35), 400},
        Bad{"GET /%00 HTTP/1.1\r\n" + kHost + "\r\n", 400},
        Bad{"GET /../x HTTP/1.1\r\n" + kHost + "\r\n", 400},
        Bad{"TRACE / HTTP/1.1\r\n" + kHost + "\r\n", 501},
        Bad{"CONNECT h:1 HTTP/1.1\r\n" + kHost + "\r\n", 501},
        Bad{"BREW / HTTP/1.1\r\n" + kHost + "\r\n", 501}, Bad{"GET * HTTP/1.1\r\n" + kHost + "\r\n", 400},
        Bad{post("Expect: cake\r\nContent-Length: 1\r\n"), 417},
        Bad{post("Content-Encoding: gzip\r\nContent-Length: 1\r\n"), 415}));

INSTANTIATE_TEST_SUITE_P(
    Smuggling, RefusedRequest,
    ::testing::Values(Bad{post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
                      Bad{post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400},
                      Bad{post("Content-Length: 5, 5\r\n", "hello"), 400},
                      Bad{post("Content-Length: +5\r\n", "hello"), 400},
                      Bad{post("Content-Length: 0x5\r\n", "hello"), 400},
                      Bad{post("Content-Length: -1\r\n"), 400}, Bad{post("Content-Length: \r\n"), 400},
                      Bad{post("Content-Length: 99999999999999999999\r\n"), 400},
                      Bad{post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
                      Bad{post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 400},
                      Bad{post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
                      Bad{post("Transfer-Encoding: identity\r\n"), 501},
                      Bad{post("Transfer-Encoding: gzip, chunked\r\n"), 501},
                      Bad{post("Transfer-Encoding: chunked, identity\r\n"), 501},
                      Bad{post("Transfer-Encoding: xchunked\r\n"), 501},
                      Bad{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
                      Bad{post("Transfer-Encoding: chunked\r\n", "zz\r\nxx\r\n"), 400},
                      Bad{post("Transfer-Encoding: chunked\r\n", "-1\r\nxx\r\n"), 400},
                      Bad{post("Transfer-Encoding: chunked\r\n", "1\r\nabc\r\n0\r\n\r\n"), 400},
                      Bad{post("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 5\r\n\r\n"), 400},
                      Bad{post("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400}));

}  // namespace
}  // namespace agenttask::server
