#include "server/http/response_text.hpp"

#include <gmock/gmock.h>

namespace agenttask::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ResponseText, WritesDates) {
  EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(http_date(784111777999), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(ResponseText, WritesAHead) {
  const Response response{201, "application/json", "{}", {{"Location", "/v1/tasks/1"}}};
  const auto text = head_text(response, BodyForm::whole, true, 0);
  EXPECT_THAT(text, StartsWith("HTTP/1.1 201 Created\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nContent-Length: 2\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nConnection: keep-alive\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\nLocation: /v1/tasks/1\r\n\r\n"));
}

TEST(ResponseText, FieldsCanNotForgeOthers) {
  const Response response{
      200, "text/plain", "", {{"X", "a\r\nSet-Cookie: b"}, {"Y\n", "c"}, {"Z", std::string("d\0", 2)}}};
  const auto text = head_text(response, BodyForm::whole, true, 0);
  EXPECT_THAT(text, Not(HasSubstr("Set-Cookie")));
  EXPECT_THAT(text, Not(HasSubstr("Y")));
  EXPECT_THAT(text, Not(HasSubstr("Z")));
}

TEST(ResponseText, NoContentHasNoLength) {
  const auto text = head_text(Response{204, "", "", {}}, BodyForm::whole, true, 0);
  EXPECT_THAT(text, Not(HasSubstr("Content-Length")));
}

TEST(ResponseText, ChunksCarryTheirSize) {
  EXPECT_EQ(chunk_text("hello"), "5\r\nhello\r\n");
  EXPECT_EQ(chunk_text(std::string(255, 'a')).substr(0, 4), "ff\r\n");
  EXPECT_EQ(chunk_text(""), "");
}

}  // namespace
}  // namespace agenttask::server
