#include <deque>

#include <nlohmann/json.hpp>

#include "tests/unit/agent_sync/sync_fixture.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

/// What a run prints, as the test says.
struct Script {
  std::deque<FollowedOutput> output;
  int followers = 0;
};

class ScriptedFollower final : public Follower {
 public:
  explicit ScriptedFollower(Script& script) : script_(script) { ++script_.followers; }
  ~ScriptedFollower() override { --script_.followers; }
  ScriptedFollower(const ScriptedFollower&) = delete;
  ScriptedFollower& operator=(const ScriptedFollower&) = delete;
  Result<FollowedOutput> next(milliseconds at_most, std::stop_token) override {
    EXPECT_EQ(at_most, milliseconds(0));  // the thread of sync must never wait here
    if (script_.output.empty()) return FollowedOutput{};
    FollowedOutput piece = std::move(script_.output.front());
    script_.output.pop_front();
    return piece;
  }

 private:
  Script& script_;
};

class LiveOutputTest : public SyncFixture {
 protected:
  void TearDown() override { sync.reset(); }  // followers end before their scripts

  Result<std::unique_ptr<Follower>> follow(const std::string& task, std::int64_t after) override {
    followed_after[task] = after;
    const auto found = scripts.find(task);
    if (found == scripts.end()) return Error{ErrorCode::not_found, "no such task"};
    return std::unique_ptr<Follower>(new ScriptedFollower(found->second));
  }
  static FollowedOutput text(const std::string& bytes) {
    FollowedOutput piece;
    piece.run = 1;
    piece.chunks.push_back({OutputStream::standard_output, 0, bytes});
    return piece;
  }

  std::map<std::string, Script> scripts;
  std::map<std::string, std::int64_t> followed_after;
};

TEST_F(LiveOutputTest, SendsWhatComesWhileSomebodyWatches) {
  scripts["a"].output = {text("one"), text("two")};
  be_connected();
  EXPECT_FALSE(link.has(ServerCall::output));
  answer_poll({}, {"a", "unknown"});
  EXPECT_EQ(poll().watching, (std::vector<std::string>{"a", "unknown"}));
  ASSERT_TRUE(link.has(ServerCall::output));
  const json body = json::parse(link.get(ServerCall::output).body);
  EXPECT_EQ(body["taskId"], "a");
  EXPECT_EQ(body["run"], 1);
  EXPECT_EQ(body["chunks"][0]["text"], "one");
  link.answer(ServerCall::output, 200, R"({"watched":true})");
  EXPECT_LE(step(), milliseconds(100));
  EXPECT_FALSE(link.has(ServerCall::output));  // not more often than every 100 ms
  pass(milliseconds(100));
  EXPECT_EQ(json::parse(link.get(ServerCall::output).body)["chunks"][0]["text"], "two");
  link.answer(ServerCall::output, 200, R"({"watched":true})");
}

TEST_F(LiveOutputTest, EndsWhenNobodyWatchesAnyMore) {
  scripts["a"].output = {text("one")};
  be_connected();
  answer_poll({}, {"a"});
  EXPECT_EQ(scripts["a"].followers, 1);
  link.answer(ServerCall::output, 200, R"({"watched":false})");
  EXPECT_EQ(scripts["a"].followers, 0);
  EXPECT_EQ(step(), std::chrono::hours(1));
  EXPECT_EQ(poll().watching,
            std::vector<std::string>{"a"});  // as the server has it, so that it need not answer at once
  answer_poll({}, {});
  EXPECT_TRUE(poll().watching.empty());
}

TEST_F(LiveOutputTest, EndsWithTheTaskAndCostsNothingAfterwards) {
  FollowedOutput last = text("bye");
  last.task_ended = true;
  scripts["a"].output = {last};
  be_connected();
  answer_poll({}, {"a"});
  link.answer(ServerCall::output, 200, R"({"watched":true})");
  EXPECT_EQ(scripts["a"].followers, 0);
  EXPECT_EQ(step(), std::chrono::hours(1));
}

TEST_F(LiveOutputTest, OneThatNeverStopsDoesNotHideTheOthers) {
  for (int i = 0; i < 10; ++i) scripts["a"].output.push_back(text("noise"));
  scripts["b"].output = {text("quiet")};
  be_connected();
  answer_poll({}, {"a", "b"});
  std::vector<std::string> sent;
  for (int i = 0; i < 3; ++i) {
    sent.push_back(json::parse(link.get(ServerCall::output).body)["taskId"].get<std::string>());
    link.answer(ServerCall::output, 200, R"({"watched":true})");
    pass(milliseconds(100));
  }
  EXPECT_EQ(sent, (std::vector<std::string>{"a", "b", "a"}));
}

TEST_F(LiveOutputTest, BeginsAtThePresentRun) {
  be_connected();
  TaskSpec spec;
  spec.type = "echo";
  spec.schedule.update_interval = 1000;
  const std::string id = ledger->create(spec)->task.spec.id;
  scripts[id].output = {text("one")};
  const auto watched_after = [&] {
    answer_poll({}, {id});
    link.answer(ServerCall::output, 200, R"({"watched":true})");
    answer_poll({}, {});
    scripts[id].output = {text("more")};
    return followed_after[id];
  };
  EXPECT_EQ(0, watched_after());
  for (std::int64_t run = 1; run <= 3; ++run) {
    ASSERT_TRUE(ledger->start(id)->run);
    EXPECT_EQ(run - 1, watched_after()) << "it runs";
    RunOutcome outcome;
    outcome.status = RunStatus::complete;
    outcome.result = R"({"success":true,"data":{}})";
    ASSERT_TRUE(ledger->end(id, run, outcome, {}));
    EXPECT_EQ(run, watched_after()) << "between two runs";
    clock.advance(milliseconds(1000));
    ASSERT_TRUE(ledger->advance_time(clock.wall()));
  }
}

TEST_F(LiveOutputTest, AFailureIsNotRetriedInATightCircle) {
  scripts["a"].output = {text("one"), text("two")};
  be_connected();
  answer_poll({}, {"a"});
  link.lose(ServerCall::output);
  EXPECT_EQ(step(), milliseconds(1000));
  pass(milliseconds(1000));
  EXPECT_TRUE(link.has(ServerCall::output));
  EXPECT_EQ(sync->status().state, LinkState::connected);  // best effort: no trouble of the link
}

}  // namespace
}  // namespace agenttask::agent
