#include <gtest/gtest.h>

#include "platform/protocol/json.hpp"
#include "platform/protocol/message.hpp"

namespace agenttask {
namespace {

PollRequest request() {
  PollRequest poll;
  poll.protocol = protocol_version();
  poll.version = "1.2.3";
  poll.name = "web-1";
  poll.epoch = 7;
  poll.directives = {3, std::string(64, 'a')};
  poll.incarnation = "this start";
  poll.predecessors = {"the one before"};
  poll.wait = 1000;
  return poll;
}

TEST(PollWithoutLedger, SaysNothingOfTheDevicesPast) {
  PollRequest poll = request();
  poll.ledger = LedgerProblem{"corrupt", "page 7; agenttaskd ledger salvage"};
  const std::string text = encode(poll);
  const auto value = parse_json(text);
  ASSERT_TRUE(value);
  for (const char* absent : {"epoch", "directives", "reports", "incarnation", "predecessors", "incomplete"})
    EXPECT_EQ(std::string::npos, text.find('"' + std::string(absent) + '"')) << absent;
  const auto read = decode_poll_request(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(poll.ledger, read->ledger);
  EXPECT_EQ(1000, read->wait);
  EXPECT_EQ("web-1", read->name);
  EXPECT_TRUE(read->incarnation.empty());
}

TEST(PollWithoutLedger, IsBounded) {
  const auto with = [](const std::string& ledger) {
    return decode_poll_request(R"({"protocol":"1.0","name":"x","ledger":)" + ledger + "}");
  };
  EXPECT_TRUE(with(R"({"problem":"io"})"));
  EXPECT_TRUE(with(R"({"problem":"io","detail":"x","of a later version":1})"));
  EXPECT_FALSE(with(R"({})"));
  EXPECT_FALSE(with(R"({"problem":""})"));
  EXPECT_FALSE(with(R"({"problem":7})"));
  EXPECT_FALSE(with(R"("io")"));
  EXPECT_FALSE(with(R"({"problem":")" + std::string(65, 'x') + R"("})"));
  EXPECT_FALSE(with(R"({"problem":"io","detail":")" + std::string(100'000, 'x') + R"("})"));
}

TEST(PollWithLedger, NeedsItsPastAndMaySayThatItIsIncomplete) {
  PollRequest poll = request();
  EXPECT_FALSE(decode_poll_request(encode(poll))->incomplete);
  poll.incomplete = true;
  EXPECT_TRUE(decode_poll_request(encode(poll))->incomplete);
  EXPECT_FALSE(decode_poll_request(R"({"protocol":"1.0","name":"x"})"));
}

}  // namespace
}  // namespace agenttask
