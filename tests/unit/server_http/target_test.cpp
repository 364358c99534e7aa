#include "server/http/target.hpp"

#include <gtest/gtest.h>

namespace agenttask::server {
namespace {

using Segments = std::vector<std::string>;
using Query = std::vector<std::pair<std::string, std::string>>;

TEST(Target, SplitsAndDecodes) {
  const auto target = parse_target("/v1/nodes/caf%C3%A9%20one/tasks?status=sent&tag=a%26b&tag=c+d&full");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/v1/nodes/caf\xC3\xA9 one/tasks");
  EXPECT_EQ(target->segments, (Segments{"v1", "nodes", "caf\xC3\xA9 one", "tasks"}));
  EXPECT_EQ(target->query, (Query{{"status", "sent"}, {"tag", "a&b"}, {"tag", "c d"}, {"full", ""}}));
}

TEST(Target, PlusIsASpaceInTheQueryOnly) {
  EXPECT_EQ(parse_target("/a+b")->segments, Segments{"a+b"});
}

TEST(Target, KeepsEmptySegments) {
  EXPECT_EQ(parse_target("/")->segments, Segments{});
  EXPECT_EQ(parse_target("/")->path, "/");
  EXPECT_EQ(parse_target("/v1/")->segments, (Segments{"v1", ""}));
  EXPECT_EQ(parse_target("/v1/")->path, "/v1/");
  EXPECT_EQ(parse_target("//v1")->segments, (Segments{"", "v1"}));
}

TEST(Target, TakesAbsoluteForm) {
  EXPECT_EQ(parse_target("https://host:8443/healthz?a=1")->path, "/healthz");
  EXPECT_EQ(parse_target("https://host")->path, "/");
}

TEST(Target, DotsAreAllowedInsideOfSegments) {
  EXPECT_EQ(parse_target("/.well-known/...")->segments, (Segments{".well-known", "..."}));
}

class RefusedTarget : public ::testing::TestWithParam<const char*> {};

TEST_P(RefusedTarget, IsInvalid) {
  const auto target = parse_target(GetParam());
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, ErrorCode::invalid);
}

INSTANTIATE_TEST_SUITE_P(Target, RefusedTarget,
                         ::testing::Values("", "v1", "*", "/%", "/%4", "/%zz", "/%4g", "/a%00b", "/a%0ab",
                                           "/a%7f", "/..", "/a/../b", "/%2e%2E/b", "/.", "/a/%2e", "/a%2fb",
                                           "/a%5Cb", "/caf\xC3\xA9", "/%C3%28", "/%ff", "/a#b", "/a b",
                                           "/a\tb", "/?a=%00", "/?a=%c3", "/?%=1", "ftp://host/a",
                                           "https://host?a"));

}  // namespace
}  // namespace agenttask::server
