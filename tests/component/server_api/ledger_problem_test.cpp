#include "tests/component/server_api/devices_fixture.hpp"

namespace agenttask::server::test {
namespace {

class LedgerProblems : public DevicesApi {
 protected:
  /// A poll of a device that can't use its ledger; what the node shows then.
  std::string say(const std::string& code, const std::string& words) {
    auto request = poll_of(device, cursor);
    request.ledger = LedgerProblem{code, words};
    polled(device, request);
    const json shown = node();
    return shown["ledger"]["problem"].get<std::string>() + ": " +
           shown["ledger"]["detail"].get<std::string>();
  }
};

TEST_F(LedgerProblems, OtherWordsForTheSameAreWrittenOnceAMinute) {
  deliver();
  EXPECT_EQ("corrupt: page 1", say("corrupt", "page 1"));
  for (int i = 2; i < 60; ++i) {
    clock.advance(std::chrono::seconds(1));
    EXPECT_EQ("corrupt: page 1", say("corrupt", "page " + std::to_string(i)));
  }
  clock.advance(std::chrono::seconds(2));
  EXPECT_EQ("corrupt: page 60", say("corrupt", "page 60"));
  EXPECT_EQ("corrupt: page 60", say("corrupt", "page 61"));
  EXPECT_EQ("io: no disk", say("io", "no disk")) << "another problem is told at once";
  polled(device, poll_of(device, cursor));
  EXPECT_FALSE(node().contains("ledger")) << "and that it is over";
  EXPECT_EQ("io: no disk again", say("io", "no disk again"));
}

}  // namespace
}  // namespace agenttask::server::test
