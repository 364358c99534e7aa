#include "agent/console/offered_services.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace agenttask::console {
namespace {

using nlohmann::json;

const json kWorkers = json::parse(R"({"folder":"/w","workers":[
  {"name":"service","builtIn":true,"types":["service"],"services":[]},
  {"name":"solana","types":[],"services":["solana","rates"]},
  {"name":"broken","types":["B"],"services":["mail"],"problem":"cannot run ./gone"}]})");

TEST(OfferedServices, ThoseOfRefusedWorkersAreNone) {
  EXPECT_EQ(names_offered(kWorkers, "services"), (std::vector<std::string>{"solana", "rates"}));
  EXPECT_EQ(names_offered(kWorkers, "types"), std::vector<std::string>{"service"});
  for (const char* odd : {"{}", "[]", R"({"workers":5})", R"({"workers":[5,{"services":"x"}]})"})
    EXPECT_TRUE(names_offered(json::parse(odd), "services").empty()) << odd;
}

TEST(OfferedServices, WhyOneCanNotBeCalledIsSaid) {
  EXPECT_FALSE(why_not_offered(kWorkers, "rates"));
  EXPECT_EQ(why_not_offered(kWorkers, "solan")->message,
            "no worker of this device offers the service solan; there is: solana, rates; --detach keeps the "
            "call until one does");
  EXPECT_EQ(why_not_offered(kWorkers, "mail")->message,
            "no worker of this device offers the service mail; the worker broken, which would, is refused: "
            "cannot run ./gone; --detach keeps the call until one does");
  EXPECT_EQ(why_not_offered(json::object(), "mail")->code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace agenttask::console
