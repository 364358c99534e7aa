#include "agent/workers/external_worker.hpp"

#include <csignal>
#include <fstream>
#include <thread>

#include "agent/workers/builtin_workers.hpp"
#include "tests/component/agent_workers/external_worker_fixture.hpp"
#include "tests/support/posix/emulator.hpp"

namespace agenttask::agent {
namespace {

TEST_F(ExternalWorkerTest, AResultIsTheData) {
  const auto result =
      run(R"(echo "got $request"; echo problem >&2; echo '{"progress":{"text":"half","percent":50}}'
echo '{"result":{"n":9007199254740993}}')");
  EXPECT_EQ(RunStatus::complete, result.status) << result.detail;
  EXPECT_EQ(R"({"n":9007199254740993})", result.data);
  EXPECT_EQ(0u, context_.out.find("got {\"execute\":{"));
  EXPECT_EQ("problem\n", context_.err);
  EXPECT_EQ(std::vector<std::string>{"half 50 %"}, context_.steps);
}

TEST_F(ExternalWorkerTest, WhatIsKnownOfTheRunIsBesideItsOwnData) {
  const auto result = run(R"(printf abc; printf de >&2; echo; echo '{"result":{"stdoutBytes":"mine"}}')");
  EXPECT_EQ(R"({"stdoutBytes":"mine"})", result.data);
  const auto output = *parse_json(result.output);
  EXPECT_EQ(4, output["stdoutBytes"]);
  EXPECT_EQ(2, output["stderrBytes"]);
  EXPECT_EQ(false, output["truncated"]);
  EXPECT_GE(output["durationMs"].get<int>(), 0);
}

TEST_F(ExternalWorkerTest, AProgramThatIsGoneIsWaitedFor) {
  const auto gone = worker("exit 0");
  fs::remove(folder_.path() / "one" / "run");
  const auto valid = gone->validate(task_, {});
  ASSERT_TRUE(valid);
  EXPECT_FALSE(valid->may_run);
  EXPECT_EQ("the worker can't be used: cannot run ./run: there is no such file", valid->detail);
  EXPECT_EQ(0u, gone->execute(context_, task_).detail.find("cannot run ./run: "));
}

TEST_F(ExternalWorkerTest, ACommandIsToldWhatWasChosen) {
  const auto command = make_command_worker(supervisor_);
  task_.spec.type = "command";
  task_.spec.data = R"({"cmd":"printf '%s;' \"${AGENTTASK_OPTION-none}\""})";
  EXPECT_EQ(RunStatus::complete, command->execute(context_, task_).status);
  task_.state.chosen = ChoiceMade{"go on; $HOME", "", 0};
  EXPECT_EQ(RunStatus::complete, command->execute(context_, task_).status);
  EXPECT_EQ("none;go on; $HOME;", context_.out);
}

TEST_F(ExternalWorkerTest, ExitCodeZeroIsEnough) {
  const auto result = run("exit 0");
  EXPECT_EQ(RunStatus::complete, result.status);
  EXPECT_EQ("{}", result.data);
}

TEST_F(ExternalWorkerTest, TheSecondResultIsOutput) {
  const auto result = run(R"(echo '{"result":{"a":1}}'; printf '{"result":{"a":2}}')");
  EXPECT_EQ(R"({"a":1})", result.data);
  EXPECT_EQ(R"({"result":{"a":2}})", context_.out);
}

TEST_F(ExternalWorkerTest, AnExitCodeFailsTheRunAlsoAfterAResult) {
  const auto result = run(R"(echo '{"result":{"a":1}}'; exit 3)");
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_EQ(reason::kWorkerError, result.reason);
  EXPECT_EQ("exit code 3", result.detail);
  EXPECT_EQ(3, data(result)["exitCode"]);
  EXPECT_TRUE(data(result).contains("durationMs"));
}

TEST_F(ExternalWorkerTest, ASignalFailsTheRun) {
  const auto result = run("kill -SEGV $$");
  EXPECT_EQ("ended by SIGSEGV", result.detail);
  EXPECT_EQ(SIGSEGV, data(result)["signal"]);
}

TEST_F(ExternalWorkerTest, AnErrorSaysWhy) {
  const auto result =
      run(R"(echo '{"result":{}}'; echo '{"error":{"code":"full","message":"no room","data":{"left":0}}}')");
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_EQ(reason::kWorkerError, result.reason);
  EXPECT_EQ("full", result.code);
  EXPECT_EQ("no room", result.detail);
  EXPECT_EQ(0, data(result)["details"]["left"]);
}

TEST_F(ExternalWorkerTest, AResultThatCantBeReadIsNoSuccess) {
  EXPECT_NE(std::string::npos, run(R"(echo '{"result":{"a":1,"a":2}}')").detail.find("can't be read"));
  EXPECT_EQ("its result is not an object", run(R"(echo '{"result":[1]}')").detail);
  const auto result = run(R"(printf '{"result":{"x":"'; head -c 3000000 /dev/zero | tr '\0' x; echo '"}}')");
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_NE(std::string::npos, result.detail.find("a line of more than"));
}

TEST_F(ExternalWorkerTest, ALineOfThreeMebibytesIsOutput) {
  const auto result = run(
      R"(printf '{"x":"'; head -c 3145728 /dev/zero | tr '\0' x; echo '"}'; echo '{"result":{"ok":true}}')");
  EXPECT_EQ(R"({"ok":true})", result.data) << result.detail;
  EXPECT_EQ(3145728 + 9, context_.count(OutputStream::standard_output).bytes);
}

TEST_F(ExternalWorkerTest, AFloodIsPassedOnAndHarmsNothing) {
  const auto result =
      run("head -c 50000000 /dev/zero | tr '\\0' '{'; echo; yes '{\"a\":1}' | head -n 20000 >&2");
  EXPECT_EQ(RunStatus::complete, result.status) << result.detail;
  EXPECT_EQ(50'000'001, context_.count(OutputStream::standard_output).bytes);
}

TEST_F(ExternalWorkerTest, CallsAreAnsweredAndWishesKept) {
  const auto result =
      run(R"(echo '{"call":{"id":1,"name":"createTask","arguments":{"type":"NEXT","data":{"n":1}}}}'
read -r a1
echo '{"call":{"id":2,"name":"createMessage","arguments":{"content":{"text":"hi"}}}}'
read -r a2
echo '{"call":{"id":3,"name":"getTasks","arguments":{"type":"NEXT"}}}'
read -r a3
echo '{"call":{"id":4,"name":"getTask","arguments":{"id":"none"}}}'
read -r a4
echo '{"call":{"id":5,"name":"createTask","arguments":{"type":"NEXT","options":{"timeout":-1}}}}'
read -r a5
echo '{"call":{"id":6,"name":"dance"}}'
read -r a6
echo '{"call":{"id":7,"name":"getMessages","arguments":{"roomId":"lobby"}}}'
read -r a7
printf '%s\n' "$a1" "$a2" "$a3" "$a4" "$a5" "$a6" "$a7" >&2)");
  EXPECT_EQ(RunStatus::complete, result.status) << result.detail;
  std::vector<nlohmann::json> answers;
  std::istringstream lines(context_.err);
  for (std::string line; std::getline(lines, line);) answers.push_back((*parse_json(line))["answer"]);
  ASSERT_EQ(7u, answers.size());
  for (int i = 0; i < 7; ++i) EXPECT_EQ(i + 1, answers[static_cast<std::size_t>(i)]["id"]);
  EXPECT_EQ("NEXT", answers[0]["result"]["type"]);
  EXPECT_EQ("lobby", answers[1]["result"]["roomId"]);
  EXPECT_EQ(1u, answers[2]["result"].size());
  EXPECT_TRUE(answers[3]["result"].is_null());
  EXPECT_EQ("options.timeout", answers[4]["problem"]["field"]);
  EXPECT_EQ("unsupported", answers[5]["problem"]["code"]);
  EXPECT_EQ(1u, answers[6]["result"].size());
  EXPECT_EQ(2u, context_.wishes().take().size());
}

TEST_F(ExternalWorkerTest, CallsOfAWorkerThatDoesNotWaitForAnswersCountToo) {
  const auto result = run(
      R"(for i in 1 2 3; do echo '{"call":{"id":'$i',"name":"createTask","arguments":{"type":"N"}}}'; done)");
  EXPECT_EQ(RunStatus::complete, result.status);
  EXPECT_EQ(3u, context_.wishes().take().size());
}

TEST_F(ExternalWorkerTest, PastTenThousandCallsTheyAreRefused) {
  const auto result = run(
      R"(i=0; { while [ $i -lt 10001 ]; do i=$((i+1)); echo '{"call":{"id":'$i',"name":"getService","arguments":{"name":"x"}}}'; done; } &
i=0; while [ $i -lt 10001 ]; do i=$((i+1)); read -r answer; done; wait; printf '%s' "$answer" >&2)");
  EXPECT_EQ(RunStatus::complete, result.status) << result.detail;
  EXPECT_NE(std::string::npos, context_.err.find("\"limit\"")) << context_.err;
}

TEST_F(ExternalWorkerTest, AWorkerThatNeverReadsItsAnswersFails) {
  const auto result = run(R"sh(text=$(head -c 60000 /dev/zero | tr '\0' x)
i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo '{"call":{"id":1,"name":"createMessage","arguments":{"content":{"text":"'$text'"}}}}'; done
i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo '{"call":{"id":1,"name":"getMessages","arguments":{"roomId":"","limit":1000}}}'; done
sleep 60)sh");
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_EQ(reason::kWorkerError, result.reason);
  EXPECT_NE(std::string::npos, result.detail.find("standard input")) << result.detail;
}

TEST_F(ExternalWorkerTest, AStopIsToldAndIsPolite) {
  context_.on_output = [&] {
    if (context_.out == "begun\n") context_.stop_for(StopCause::cancel);
  };
  const auto result = run(
      R"(trap 'got_signal=1' TERM; echo begun; stop=; while [ -z "$stop" ]; do read -r stop; done; echo "$stop")");
  EXPECT_EQ(RunStatus::cancelled, result.status);
  EXPECT_NE(std::string::npos, context_.out.find(R"({"stop":{"cause":"cancel"}})")) << context_.out;
}

TEST_F(ExternalWorkerTest, ATimeoutEndsTheWholeTree) {
  context_.on_output = [&] { context_.stop_for(StopCause::timeout); };
  const auto result = run(R"(sleep 600 & echo $!; sleep 600)", R"(,"timeout":1500)");
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_EQ(reason::kTimeout, result.reason);
  EXPECT_EQ("stopped after 1500 ms (options.timeout)", result.detail);
  EXPECT_TRUE(result.nothing_survives);
  if (test::is_emulated()) GTEST_SKIP() << test::kEmulatedOrphans;
  EXPECT_NE(0, ::kill(std::stoi(context_.out), 0));
}

TEST_F(ExternalWorkerTest, AProgramThatCantStartFailsTheRun) {
  const auto one = worker("exit 0");
  fs::remove(folder_.path() / "one" / "run");
  const auto result = one->execute(context_, task_);
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_EQ(reason::kWorkerError, result.reason);
}

TEST_F(ExternalWorkerTest, TheEnvironmentIsCleanWithTheManifestsOwn) {
  ::setenv("AGENTTASK_TEST_SECRET", "x", 1);
  run("env; pwd", R"(,"environment":{"KEY":"value"})");
  EXPECT_NE(std::string::npos, context_.out.find("KEY=value\n"));
  EXPECT_NE(std::string::npos, context_.out.find("AGENTTASK_RUN_ID=" + context_.run_id()));
  EXPECT_EQ(std::string::npos, context_.out.find("SECRET"));
  EXPECT_NE(std::string::npos, context_.out.find((folder_.path() / "one").string() + "\n"));
}

// ---- validate

class ExternalCheckTest : public ExternalWorkerTest {
 protected:
  Validation ask(const std::string& script) {
    const auto valid = worker(script, R"(,"validate":true)")->validate(task_, source_.get_token());
    EXPECT_TRUE(valid);
    return *valid;
  }
  std::stop_source source_;
};

TEST_F(ExternalCheckTest, ItSaysYesOrNo) {
  EXPECT_TRUE(ask(R"(case "$request" in '{"validate":{"task":'*) echo '{"valid":true}';; esac)").may_run);
  const auto no = ask(R"(echo '{"valid":false,"detail":"not yet"}'; echo '{"valid":true}')");
  EXPECT_FALSE(no.may_run);
  EXPECT_EQ("not yet", no.detail);
  EXPECT_FALSE(ask(R"(echo '{"valid":false}')").detail.empty());
}

TEST_F(ExternalCheckTest, ACrashOrNoAnswerIsAFailedCheck) {
  EXPECT_NE(std::string::npos, ask("echo 'went wrong' >&2; exit 4").detail.find("exit code 4; went wrong"));
  EXPECT_NE(std::string::npos, ask("kill -SEGV $$").detail.find("SIGSEGV"));
  EXPECT_NE(std::string::npos, ask("exit 0").detail.find("without an answer"));
  EXPECT_FALSE(ask(R"(echo '{"valid":true}'; exit 1)").may_run);
  EXPECT_NE(std::string::npos,
            ask(R"(echo '{"error":{"code":"c","message":"m"}}'; exit 1)").detail.find("c: m"));
  EXPECT_FALSE(
      ask(R"(echo '{"call":{"id":1,"name":"createTask","arguments":{"type":"T"}}}'; read -r a; exit 0)")
          .may_run);
}

TEST_F(ExternalCheckTest, OneThatHangsIsStopped) {
  times_.validate = milliseconds(200);
  const auto began = std::chrono::steady_clock::now();
  const auto no = ask("trap '' TERM; sleep 600 & wait; sleep 600");
  EXPECT_FALSE(no.may_run);
  EXPECT_NE(std::string::npos, no.detail.find("no answer within 200 ms"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
}

TEST_F(ExternalCheckTest, WithoutValidateEveryTaskMayRunThatFitsTheSchema) {
  const auto one = worker("exit 9", R"(,"dataSchema":{"type":"object","required":["n"]})");
  const auto wrong = one->validate(task_, {});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(ErrorCode::invalid, wrong.error().code);
  task_.spec.data = R"({"n":1})";
  EXPECT_TRUE(one->validate(task_, {})->may_run);
}

// ---- services

class ServiceTest : public ExternalWorkerTest {
 protected:
  void offer(const std::string& script) {
    make("neighbour", R"({"services":["sum"],"command":["./run"]})", script);
  }
  nlohmann::json call() {
    const auto result = run(
        R"(echo '{"call":{"id":1,"name":"callService","arguments":{"name":"sum","method":"add","arguments":{"a":1}}}}'
read -r answer; printf '%s' "$answer" >&2)");
    EXPECT_EQ(RunStatus::complete, result.status) << result.detail;
    const auto answer = parse_json(context_.err);
    EXPECT_TRUE(answer) << context_.err;
    return answer ? (*answer)["answer"] : nlohmann::json();
  }
};

TEST_F(ServiceTest, ItsAnswerComesBack) {
  offer(R"(echo "$request"; echo '{"result":[1,2]}')");
  EXPECT_EQ((nlohmann::json{1, 2}), call()["result"]);
  EXPECT_EQ(R"({"serve":{"arguments":{"a":1},"method":"add","service":"sum"}})"
            "\n",
            context_.out);
}

TEST_F(ServiceTest, ItsFailureIsAProblem) {
  offer(R"(echo '{"error":{"code":"overflow","message":"too much"}}'; exit 1)");
  const auto problem = call()["problem"];
  EXPECT_EQ("overflow", problem["code"]);
  EXPECT_EQ("too much", problem["message"]);
}

TEST_F(ServiceTest, ACrashOrNothingIsAProblem) {
  offer("kill -KILL $$");
  EXPECT_NE(std::string::npos, call()["problem"]["message"].get<std::string>().find("SIGKILL"));
}

TEST_F(ServiceTest, OneThatHangsIsStoppedAndTheRunGoesOn) {
  times_.service = milliseconds(300);
  offer("sleep 600");
  EXPECT_EQ("timeout", call()["problem"]["code"]);
}

TEST_F(ServiceTest, AStopOfTheRunStopsTheService) {
  offer("echo serving; sleep 600");
  context_.on_output = [&] { context_.stop_for(StopCause::cancel); };
  const auto result = run(
      R"(echo '{"call":{"id":1,"name":"callService","arguments":{"name":"sum","method":"add"}}}'; sleep 600)");
  EXPECT_EQ(RunStatus::cancelled, result.status);
  EXPECT_TRUE(result.nothing_survives);
}

TEST_F(ServiceTest, OneThatNobodyOffersIsNotFound) {
  EXPECT_EQ("not-found", call()["problem"]["code"]);
}

// ---- the folder

TEST(WorkersFolder, WorkersComeChangeAndGo) {
  test::TemporaryFolder folder;
  const fs::path workers = folder.path() / "deep" / "workers";
  os::ProcessSupervisor supervisor;
  Logger log(LogLevel::error, LogFormat::text);
  WorkerRegistry registry;
  std::mutex mutex;
  std::condition_variable changed;
  WorkersFolder watched(workers, registry, supervisor, log, [&](std::span<const std::string>) {
    const std::scoped_lock lock(mutex);
    changed.notify_all();
  });
  watched.start();
  const auto eventually = [&](const std::function<bool()>& condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), condition);
  };
  const auto write = [&](const char* name, const std::string& types) {
    fs::create_directories(workers / name);
    std::ofstream(workers / name / "worker.json") << R"({"types":[)" << types << R"(],"command":["true"]})";
    for (const auto& path : {workers, workers / name, workers / name / "worker.json"})
      fs::permissions(path, fs::perms::group_write | fs::perms::others_write, fs::perm_options::remove);
  };
  EXPECT_TRUE(registry.types().empty());
  write("one", R"("A")");
  EXPECT_TRUE(eventually([&] { return registry.find("A") != nullptr; }))
      << "the folder appears, and one in it";
  const auto first = registry.find("A");
  write("two", R"("B")");
  EXPECT_TRUE(eventually([&] { return registry.find("B") != nullptr; }));
  write("one", R"("A","C")");
  EXPECT_TRUE(eventually([&] { return registry.find("C") != nullptr; }));
  EXPECT_NE(first, registry.find("A")) << "a run under way keeps the worker it began with";
  fs::permissions(workers / "two" / "worker.json", fs::perms::others_write, fs::perm_options::add);
  EXPECT_TRUE(eventually([&] { return registry.find("B") == nullptr; })) << "rights changed";
  ASSERT_EQ(2u, watched.describe().size());
  EXPECT_FALSE(watched.describe()[1].problem.empty());
  fs::remove_all(workers / "one");
  EXPECT_TRUE(eventually([&] { return registry.find("A") == nullptr; }));
  fs::remove_all(workers);
  EXPECT_TRUE(eventually([&] { return watched.describe().empty(); }));
  write("three", R"("D")");
  EXPECT_TRUE(eventually([&] { return registry.find("D") != nullptr; }));
  EXPECT_FALSE(watched.rescan());
}

TEST(WorkersFolder, AProgramThatCanNotRunKeepsItsWorkerAway) {
  test::TemporaryFolder folder;
  const fs::path one = folder.path() / "workers" / "one";
  const fs::path elsewhere = folder.path() / "programs" / "program";
  fs::create_directories(one / "bin");
  fs::create_directories(elsewhere.parent_path());
  for (const auto& path : {one, one.parent_path()})
    fs::permissions(path, fs::perms::group_write | fs::perms::others_write, fs::perm_options::remove);
  const auto write = [](const fs::path& file, const std::string& text, unsigned mode) {
    std::ofstream(file) << text;
    fs::permissions(file, fs::perms(mode));
  };
  write(one / "worker.json", R"({"types":["A"],"command":["./bin/run"]})", 0644);
  write(one / "bin" / "run", "#!/bin/sh\n", 0644);
  os::ProcessSupervisor supervisor;
  Logger log(LogLevel::error, LogFormat::text);
  WorkerRegistry registry;
  std::mutex mutex;
  std::condition_variable changed;
  WorkersFolder watched(one.parent_path(), registry, supervisor, log, [&](std::span<const std::string>) {
    const std::scoped_lock lock(mutex);
    changed.notify_all();
  });
  const auto eventually = [&](bool there) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20),
                            [&] { return (registry.find("A") != nullptr) == there; });
  };
  EXPECT_EQ(nullptr, registry.find("A"));
  EXPECT_EQ("cannot run ./bin/run: it is not an executable file for the user it runs as",
            watched.describe().at(0).problem);
  watched.start();
  fs::permissions(one / "bin" / "run", fs::perms(0755));
  EXPECT_TRUE(eventually(true)) << "in a folder below";
  fs::permissions(one / "bin" / "run", fs::perms(0644));
  EXPECT_TRUE(eventually(false));
  write(one / "worker.json", R"({"types":["A"],"command":[")" + elsewhere.string() + R"("]})", 0644);
  write(elsewhere, "#!/bin/sh\n", 0755);
  EXPECT_TRUE(eventually(true)) << "elsewhere";
  fs::remove(elsewhere);
  EXPECT_TRUE(eventually(false));
  EXPECT_EQ("cannot run " + elsewhere.string() + ": there is no such file", watched.describe().at(0).problem);
}

}  // namespace
}  // namespace agenttask::agent
