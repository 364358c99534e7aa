#include "server/api/problems.hpp"

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "server/api/credentials.hpp"
#include "server/api/router.hpp"

namespace agenttask::server {
namespace {

std::string header(const Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

TEST(Problems, EachCodeIsThereOnceAndAnErrorStatus) {
  std::set<std::string_view> names;
  for (const auto& each : kCodes) {
    EXPECT_TRUE(names.insert(each.name).second) << each.name;
    EXPECT_EQ(&info(each.code), &each);
    EXPECT_GE(each.status, 400);
    EXPECT_LT(each.status, 600);
  }
}

TEST(Problems, AResponseCarriesTheDocumentAndWhatTheStatusNeeds) {
  const auto response = refuse(Code::invalid, "detail", "options.timeout", R"({"task":{"id":"x"}})");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.content_type, "application/problem+json");
  const auto document = nlohmann::json::parse(response.body);
  EXPECT_EQ(document["code"], "invalid");
  EXPECT_EQ(document["field"], "options.timeout");
  EXPECT_EQ(document["task"]["id"], "x");
  EXPECT_EQ(header(refuse(Code::unauthorized, "x"), "WWW-Authenticate"), "Bearer");
  EXPECT_FALSE(header(refuse(Code::unavailable, "x"), "Retry-After").empty());
  EXPECT_EQ(Router::busy().status, 503);
}

TEST(Problems, FailuresOfTheStorageAreNeverTheCallersFault) {
  for (const ErrorCode code : {ErrorCode::limit, ErrorCode::conflict, ErrorCode::invalid, ErrorCode::io}) {
    const auto response = refuse_storage(Error{code, "disk full"});
    EXPECT_EQ(response.status, 503);
    EXPECT_NE(response.body.find("disk full"), std::string::npos);
  }
  EXPECT_EQ(refuse(Error{ErrorCode::unsupported, "later", "choices"}).status, 422);
  EXPECT_EQ(refuse(Error{ErrorCode::internal, "x"}).status, 500);
}

TEST(Problems, DetailsMayQuoteAnyBytes) {
  EXPECT_TRUE(nlohmann::json::accept(refuse(Code::unknown_node, "no node \xff\xfe").body));
}

TEST(Routes, EachIsThereOnceAndWellFormed) {
  std::set<std::pair<std::string_view, std::string_view>> routes;
  for (const auto& route : Router::routes()) {
    EXPECT_TRUE(routes.emplace(route.method, route.path).second) << route.path;
    EXPECT_TRUE(route.path.starts_with("/")) << route.path;
    // What changes something is never open to viewers.
    EXPECT_FALSE(route.effect == Effect::may_write && route.access == Access::viewer) << route.path;
    const bool device = route.path.starts_with("/v1/device/");
    EXPECT_EQ(device, route.access == Access::device || route.access == Access::expired_device) << route.path;
  }
}

TEST(Credentials, LabelsAndNamesHaveTheirLimits) {
  EXPECT_TRUE(check_label("site", ""));
  EXPECT_TRUE(
      check_label(std::string(limits::kLabelKeyBytes, 'k'), std::string(limits::kLabelValueBytes, 'v')));
  EXPECT_FALSE(check_label(std::string(limits::kLabelKeyBytes + 1, 'k'), "v"));
  EXPECT_FALSE(check_label("k", std::string(limits::kLabelValueBytes + 1, 'v')));
  for (const auto* key : {"", "a=b", "a\nb"}) EXPECT_FALSE(check_label(key, "v")) << key;
  EXPECT_TRUE(check_node_name(std::string(limits::kNodeNameBytes, 'n')));
  EXPECT_FALSE(check_node_name(std::string(limits::kNodeNameBytes + 1, 'n')));
  for (const std::string& name : {std::string(), std::string("a\x7f"), make_uuid(1)})
    EXPECT_FALSE(check_node_name(name));
}

TEST(Credentials, OnlyTheHashOfATokenIsKept) {
  EXPECT_EQ(token_hash("agt_x"), hex_encode(sha256("agt_x")));
  EXPECT_EQ(token_hash("").size(), 64U);
}

}  // namespace
}  // namespace agenttask::server
