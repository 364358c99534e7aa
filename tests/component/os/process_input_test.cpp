#include <functional>
#include <stop_token>

#include "tests/component/os/child.hpp"

// A child that the observer talks with while it runs.
namespace agenttask::os {
namespace {

/// Answers what the child writes.
class Conversation final : public Recorder {
 public:
  void opened(ProcessInput& child_input) override {
    input = &child_input;
    if (on_open) on_open(child_input);
  }
  void output(OutputStream stream, std::string_view bytes) override {
    Recorder::output(stream, bytes);
    if (on_output) on_output(bytes);
  }
  void stopping(bool timed_out) override {
    told_of_timeout = timed_out;
    if (on_stop) on_stop();
  }

  ProcessInput* input = nullptr;
  std::function<void(ProcessInput&)> on_open;
  std::function<void(std::string_view)> on_output;
  std::function<void()> on_stop;
  std::optional<bool> told_of_timeout;
};

class ProcessInputTest : public ProcessTest {
 protected:
  ProcessSpec interactive(const std::string& line) {
    ProcessSpec spec = shell(line);
    spec.interactive = true;
    return spec;
  }
  ProcessOutcome talk(const ProcessSpec& spec, std::stop_token stop = {}) {
    auto outcome = supervisor.run(spec, stop, conversation);
    EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().message);
    return outcome ? *outcome : ProcessOutcome{};
  }
  Conversation conversation;
};

TEST_F(ProcessInputTest, GoesBackAndForth) {
  int rounds = 0;
  conversation.on_output = [&](std::string_view bytes) {
    if (bytes.find('?') == std::string_view::npos) return;
    if (++rounds == 3) return conversation.input->close();
    EXPECT_TRUE(conversation.input->write("answer " + std::to_string(rounds) + "\n"));
  };
  ProcessSpec spec = interactive("while read -r line; do echo \"got $line\"; echo '?'; done; echo end");
  spec.standard_input = "first\n";
  EXPECT_EQ(talk(spec).exit_code, 0);
  EXPECT_EQ(conversation.out, "got first\n?\ngot answer 1\n?\ngot answer 2\n?\nend\n");
}

TEST_F(ProcessInputTest, StaysOpenUntilTheTimeout) {
  ProcessSpec spec = interactive("read -r line; echo never");
  spec.timeout = std::chrono::milliseconds(100);
  const auto outcome = talk(spec);
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_EQ(conversation.told_of_timeout, true);
  EXPECT_EQ(conversation.out, "");
}

TEST_F(ProcessInputTest, CarriesMoreThanAPipeHoldsToASlowReader) {
  conversation.on_open = [](ProcessInput& input) {
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(input.write(std::string(100'000, 'x')));
    input.close();
  };
  EXPECT_EQ(talk(interactive("sleep 0.1; wc -c")).exit_code, 0);
  EXPECT_EQ(conversation.out, "10000000\n");
}

TEST_F(ProcessInputTest, HasABoundForAChildThatNeverReads) {
  conversation.on_open = [](ProcessInput& input) {
    EXPECT_TRUE(input.write(std::string(16U << 20, 'x')));
    const auto more = input.write(std::string(1U << 20, 'x'));
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, ErrorCode::limit);
  };
  ProcessSpec spec = interactive("exec sleep 60");
  spec.timeout = std::chrono::milliseconds(200);
  EXPECT_TRUE(talk(spec).timed_out);
}

TEST_F(ProcessInputTest, OfAChildThatClosedItsEndIsDropped) {
  conversation.on_output = [&](std::string_view) {
    EXPECT_TRUE(conversation.input->write("into the void\n"));
    EXPECT_TRUE(conversation.input->write("and again\n"));
  };
  EXPECT_EQ(talk(interactive("exec <&-; echo closed; exit 5")).exit_code, 5);
}

TEST_F(ProcessInputTest, TellsTheChildOfAStopBeforeItIsAsked) {
  std::stop_source stop;
  conversation.on_output = [&](std::string_view bytes) {
    if (bytes == "ready\n") stop.request_stop();
  };
  conversation.on_stop = [&] { EXPECT_TRUE(conversation.input->write("stop\n")); };
  ProcessSpec spec = interactive("trap '' TERM; echo ready; read -r line; echo \"told: $line\"; exit 6");
  const auto outcome = talk(spec, stop.get_token());
  EXPECT_TRUE(outcome.stopped);
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_EQ(conversation.told_of_timeout, false);
  EXPECT_EQ(conversation.out, "ready\ntold: stop\n");
}

}  // namespace
}  // namespace agenttask::os
