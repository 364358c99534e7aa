#include <thread>

#include "tests/component/agent_runner/runner_fixture.hpp"

namespace agenttask::agent {
namespace {

class CommandTest : public RunnerFixture {
 protected:
  CommandTest() { run(); }
  nlohmann::json data(const Task& task) { return result(task)["data"]; }
};

TEST_F(CommandTest, AShellLine) {
  const std::string id = create(shell("echo out; echo err >&2"));
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  const auto facts = data(task);
  EXPECT_EQ(0, facts["exitCode"].get<int>());
  EXPECT_EQ(4, facts["stdoutBytes"].get<int>());
  EXPECT_EQ(4, facts["stderrBytes"].get<int>());
  EXPECT_FALSE(facts["truncated"].get<bool>());
  EXPECT_FALSE(facts["timedOut"].get<bool>());
  EXPECT_TRUE(facts["survivors"].empty());
  EXPECT_GE(facts["durationMs"].get<int>(), 0);
  EXPECT_FALSE(facts.contains("signal"));
  EXPECT_EQ("out\n", out(id));
  EXPECT_EQ("err\n", err(id));
}

TEST_F(CommandTest, ArgvNeedsNoShell) {
  const std::string id = create(spec("command", {{"argv", {"printf", "%s|", "a b", "$HOME", "*"}}}));
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ("a b|$HOME|*|", out(id));
}

TEST_F(CommandTest, FolderEnvironmentAndInput) {
  const std::string id =
      create(spec("command", {{"cmd", "pwd; echo $GREETING; cat; echo ${AGENTTASK_X-none}"},
                              {"cwd", folder_.path().string()},
                              {"env", {{"GREETING", "hello"}}},
                              {"stdin", "typed\n"}}));
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_EQ(folder_.path().string() + "\nhello\ntyped\nnone\n", out(id));
}

TEST_F(CommandTest, OnlyZeroIsSuccess) {
  const Task task = ended(create(shell("exit 3")));
  EXPECT_EQ(TaskStatus::failed, task.state.status);
  EXPECT_EQ(reason::kExitStatus, task.state.reason);
  EXPECT_EQ("exit code 3", task.state.detail);
  EXPECT_EQ(3, data(task)["exitCode"].get<int>());
  EXPECT_EQ("exit-status", result(task)["error"]["code"].get<std::string>());
}

TEST_F(CommandTest, ASignalIsNoExitCode) {
  const Task task = ended(create(shell("kill -9 $$")));
  EXPECT_EQ(reason::kExitStatus, task.state.reason);
  EXPECT_EQ(9, data(task)["signal"].get<int>());
  EXPECT_EQ("SIGKILL", data(task)["signalName"].get<std::string>());
  EXPECT_FALSE(data(task).contains("exitCode"));
}

TEST_F(CommandTest, AProgramThatIsNotThere) {
  const Task task = ended(create(spec("command", {{"argv", {"/no/such/program"}}})));
  EXPECT_EQ(TaskStatus::failed, task.state.status);
  EXPECT_EQ(reason::kWorkerError, task.state.reason);
  EXPECT_NE(std::string::npos, task.state.detail.find("/no/such/program")) << task.state.detail;
}

TEST_F(CommandTest, TheTimeoutStopsTheTreeAndKeepsWhatCame) {
  TaskSpec what = shell("echo before; (trap '' TERM; sleep 61) & sleep 61");
  what.options.timeout = 300;
  const auto begin = std::chrono::steady_clock::now();
  const std::string id = create(what);
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::failed, task.state.status);
  EXPECT_EQ(reason::kTimeout, task.state.reason);
  EXPECT_TRUE(data(task)["timedOut"].get<bool>());
  EXPECT_TRUE(data(task)["survivors"].empty());
  EXPECT_EQ("before\n", out(id));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
  EXPECT_TRUE(runner_->status().running.empty() ||
              eventually([&] { return runner_->status().running.empty(); }));
}

TEST_F(CommandTest, CancelStopsWhatRuns) {
  const std::string id = create(shell("echo begun; sleep 62"));
  auto follower = *runner_->follow(id);
  while (follower->next(seconds(10), {})->chunks.empty()) {
  }
  EXPECT_TRUE(ledger_->cancel(id)->stopping);
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::cancelled, task.state.status);
  EXPECT_EQ("begun\n", out(id));
  EXPECT_EQ(RunStatus::cancelled, ledger_->runs(id)->at(0).status);
  EXPECT_TRUE(task.state.cancel_requested_at);
}

TEST_F(CommandTest, MuchOnStandardErrorFirst) {
  const std::string id = create(shell("head -c 10000000 /dev/zero | tr '\\0' e >&2; echo end"));
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ("end\n", out(id));
  EXPECT_EQ(10'000'000, data(task)["stderrBytes"].get<int>());
  EXPECT_TRUE(data(task)["truncated"].get<bool>());
  EXPECT_EQ(limits::kDefaultMaxOutputBytes, static_cast<std::int64_t>(err(id).size()));
}

TEST_F(CommandTest, AGigabyteWithoutANewlineIsCountedNotKept) {
  const std::string id = create(shell("head -c 1000000000 /dev/zero"));
  const Task task = ended(id);
  EXPECT_EQ(TaskStatus::complete, task.state.status);
  EXPECT_EQ(1'000'000'000, data(task)["stdoutBytes"].get<int>());
  EXPECT_EQ(limits::kDefaultMaxOutputBytes, static_cast<std::int64_t>(out(id).size()));
}

TEST_F(CommandTest, OutputIsKeptToTheByteAndCountedPastIt) {
  TaskSpec what = shell("printf 0123456789");
  what.options.max_output_bytes = 10;
  std::string id = create(what);
  EXPECT_FALSE(data(ended(id))["truncated"].get<bool>());
  EXPECT_EQ("0123456789", out(id));
  what.options.max_output_bytes = 9;
  id = create(what);
  EXPECT_TRUE(data(ended(id))["truncated"].get<bool>());
  EXPECT_EQ("012356789", out(id));
  const auto chunks = *ledger_->kept_output(id, 1);
  ASSERT_EQ(2U, chunks.size());
  EXPECT_EQ(5, chunks[1].offset);
}

TEST_F(CommandTest, BytesThatAreNoTextSurvive) {
  const std::string id = create(shell("printf '\\377\\000\\376'"));
  ended(id);
  EXPECT_EQ(std::string("\xff\0\xfe", 3), out(id));
}

TEST_F(CommandTest, AGrandchildThatKeepsThePipeHoldsUpNothing) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string id = create(shell("sleep 5 & echo parent"));
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(4));
  EXPECT_EQ("parent\n", out(id));
}

TEST_F(CommandTest, AChildThatReadsFindsTheEnd) {
  const std::string id = create(shell("cat; echo eof"));
  ended(id);
  EXPECT_EQ("eof\n", out(id));
}

TEST_F(CommandTest, SeveralAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(create(shell("sleep 1")));
  for (const auto& id : ids) EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(3000));
}

class FollowTest : public CommandTest {
 protected:
  struct Seen {
    std::string out;
    std::string err;
    std::int64_t lost = 0;
    std::vector<std::int64_t> ended_runs;
    bool ended = false;
  };
  /// Follows to the end of the task.
  Seen follow(Follower& follower) {
    Seen seen;
    std::int64_t next = 0;
    const auto until = std::chrono::steady_clock::now() + seconds(30);
    while (!seen.ended && std::chrono::steady_clock::now() < until) {
      const auto output = follower.next(seconds(5), {});
      EXPECT_TRUE(output);
      for (const auto& chunk : output->chunks) {
        if (chunk.stream == OutputStream::standard_error) {
          seen.err += chunk.bytes;
          continue;
        }
        seen.lost += chunk.offset - next;
        next = chunk.offset + static_cast<std::int64_t>(chunk.bytes.size());
        seen.out += chunk.bytes;
      }
      if (output->run_ended) {
        seen.ended_runs.push_back(output->run);
        next = 0;
      }
      seen.ended = output->task_ended;
    }
    return seen;
  }
};

TEST_F(FollowTest, SeesEverythingFromBeforeTheStart) {
  ASSERT_TRUE(ledger_->set_hold(true));
  const std::string id = create(shell("echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three"));
  auto follower = *runner_->follow(id);
  EXPECT_EQ(0, follower->next(milliseconds(10), {})->run);
  ASSERT_TRUE(ledger_->set_hold(false));
  const Seen seen = follow(*follower);
  EXPECT_EQ("one\nthree\n", seen.out);
  EXPECT_EQ("two\n", seen.err);
  EXPECT_EQ(std::vector<std::int64_t>{1}, seen.ended_runs);
  EXPECT_TRUE(seen.ended);
  EXPECT_EQ(TaskStatus::complete, get(id).state.status) << "the result is there when the end is told";
}

TEST_F(FollowTest, ALateFollowerSeesWhatIsKept) {
  const std::string id = create(shell("echo before; read x </dev/null; sleep 0.3; echo after"));
  running(id);
  auto second = *runner_->follow(id);
  EXPECT_EQ("before\nafter\n", follow(*second).out);
  auto third = *runner_->follow(id);
  const Seen seen = follow(*third);
  EXPECT_EQ("before\nafter\n", seen.out) << "after the end, from the ledger";
  EXPECT_TRUE(seen.ended);
}

TEST_F(FollowTest, ASlowFollowerMissesTheMiddleAndHoldsUpNobody) {
  const std::string id = create(shell("head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end"));
  auto follower = *runner_->follow(id);
  EXPECT_EQ(TaskStatus::complete, ended(id).state.status);
  const Seen seen = follow(*follower);
  EXPECT_GT(seen.lost, 20'000'000);
  EXPECT_EQ(30'000'000 + 5, seen.lost + static_cast<std::int64_t>(seen.out.size()));
  EXPECT_EQ("x\nend\n", seen.out.substr(seen.out.size() - 6));
}

TEST_F(FollowTest, EveryRunIsFollowed) {
  TaskSpec what = shell("echo try; exit 1");
  what.options.retry = RetryPolicy{3, 20, 100};
  const std::string id = create(what);
  auto follower = *runner_->follow(id);
  const Seen seen = follow(*follower);
  EXPECT_EQ("try\ntry\ntry\n", seen.out);
  EXPECT_EQ((std::vector<std::int64_t>{1, 2, 3}), seen.ended_runs);
}

TEST_F(FollowTest, WaitingCanBeStopped) {
  ASSERT_TRUE(ledger_->set_hold(true));
  const std::string id = create(shell("true"));
  auto follower = *runner_->follow(id);
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(follower->next(seconds(30), stop.get_token())->chunks.empty());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
  ASSERT_TRUE(ledger_->cancel(id));
  EXPECT_TRUE(follower->next(seconds(5), {})->task_ended);
  EXPECT_EQ(ErrorCode::not_found, runner_->follow("00000000-0000-4000-8000-000000000000").error().code);
}

}  // namespace
}  // namespace agenttask::agent
