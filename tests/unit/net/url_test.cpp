#include "platform/net/url.hpp"

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"

namespace agenttask::net {
namespace {

std::string normal(std::string_view text) {
  const auto url = parse_server_url(text);
  return url ? url->to_string() : "refused";
}

TEST(ServerUrlTest, BringsWhatPeopleWriteIntoOneForm) {
  EXPECT_EQ(normal("https://tasks.example"), "https://tasks.example:8443");
  EXPECT_EQ(normal("https://Tasks.Example/"), "https://tasks.example:8443");
  EXPECT_EQ(normal("tasks.example"), "https://tasks.example:8443");
  EXPECT_EQ(normal("tasks.example:443"), "https://tasks.example:443");
  EXPECT_EQ(normal("localhost"), "https://localhost:8443");
  EXPECT_EQ(normal("https://127.0.0.1:1"), "https://127.0.0.1:1");
  EXPECT_EQ(normal("https://[::1]:65535"), "https://[::1]:65535");
  EXPECT_EQ(normal("https://[FE80::1]"), "https://[fe80::1]:8443");
  EXPECT_EQ(normal(normal("tasks.example")), "https://tasks.example:8443");
}

TEST(ServerUrlTest, RefusesWhatIsNoServer) {
  for (const char* text : {"",
                           "http://tasks.example",
                           "ftp://x",
                           "https://",
                           "https:///",
                           "https://user@host",
                           "https://user:pw@host",
                           "https://host/path",
                           "https://host?x=1",
                           "https://host#x",
                           "https://host:0",
                           "https://host:65536",
                           "https://host:-1",
                           "https://host:abc",
                           "https://ho st",
                           "https://host\r\nX: y",
                           "https://.host",
                           "https://a..b",
                           "https://-x",
                           "https://[::1",
                           "https://[zz]",
                           "https://ho%73t",
                           "https://h\xC3\xB6st",
                           "file:///etc/passwd"}) {
    EXPECT_EQ(normal(text), "refused") << text;
  }
  EXPECT_EQ(normal("https://" + std::string(254, 'a')), "refused");
  EXPECT_EQ(normal("https://" + std::string(5000, 'a')), "refused");
  EXPECT_EQ(normal(std::string("https://host\0x", 14)), "refused");
}

TEST(ProxyUrlTest, TakesProxiesAndHidesTheirPasswords) {
  EXPECT_EQ(check_proxy_url("").value(), "");
  EXPECT_EQ(check_proxy_url("http://proxy:3128").value(), "http://proxy:3128");
  EXPECT_TRUE(check_proxy_url("socks5h://127.0.0.1:1080"));
  EXPECT_TRUE(check_proxy_url("https://user:pass@proxy.example:8080/"));
  for (const char* text : {"proxy:3128", "ftp://proxy:1", "http://proxy", "http://proxy:0", "http://:1",
                           "http://proxy:1/path", "http://p:1?x"}) {
    EXPECT_FALSE(check_proxy_url(text)) << text;
  }
  EXPECT_EQ(check_proxy_url("ftp://user:secret@proxy:1").error().message.find("secret"), std::string::npos);
}

// What is refused is quoted, but never in half characters.
TEST(ServerUrlTest, QuotesWholeCharacters) {
  for (const std::size_t before : {197U, 198U, 199U}) {
    const auto refused = parse_server_url(std::string(before, ' ') + "\U0001F600" + std::string(20, 'x'));
    ASSERT_FALSE(refused);
    EXPECT_TRUE(is_utf8(refused.error().message)) << refused.error().message;
  }
}

TEST(PercentEncodeTest, LeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(percent_encode("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(percent_encode("a b/c?d=e&f%"), "a%20b%2Fc%3Fd%3De%26f%25");
  EXPECT_EQ(percent_encode("\xC3\xB6\n"), "%C3%B6%0A");
}

}  // namespace
}  // namespace agenttask::net
