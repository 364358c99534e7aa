#include <fcntl.h>
#include <fstream>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>

#include "platform/os/host.hpp"
#include "tests/component/os/child.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class ProcessRun : public ProcessTest {};

TEST_F(ProcessRun, GivesOutputExitCodeAndDuration) {
  const auto outcome = run("echo out; echo err >&2; exit 3");
  EXPECT_EQ(child.out, "out\n");
  EXPECT_EQ(child.err, "err\n");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_FALSE(outcome.signal_number);
  EXPECT_TRUE(outcome.started);
  EXPECT_FALSE(outcome.timed_out || outcome.stopped || outcome.streams_left_open);
  EXPECT_GT(child.pid, 0);
  EXPECT_LT(outcome.duration, 10s);
}

TEST_F(ProcessRun, TellsEveryExitCodeFromSignals) {
  for (int code = 0; code <= 255; ++code) {
    const auto outcome = run("exit " + std::to_string(code));
    ASSERT_EQ(outcome.exit_code, code);
    ASSERT_FALSE(outcome.signal_number);
  }
  const auto killed = run("kill -9 $$");
  EXPECT_FALSE(killed.exit_code);
  EXPECT_EQ(killed.signal_number, SIGKILL);
  EXPECT_EQ(killed.signal_name, "SIGKILL");
  const auto terminated = run("kill $$");
  EXPECT_EQ(terminated.signal_name, "SIGTERM");
}

TEST_F(ProcessRun, TakesArgumentsLiterally) {
  auto spec = shell("");
  spec.argv = {"printf", "%s|", "a b", "", "*", "$HOME", "\xc3\xa9", "-n"};
  EXPECT_EQ(run(spec).exit_code, 0);
  EXPECT_EQ(child.out, "a b||*|$HOME|\xc3\xa9|-n|");
}

TEST_F(ProcessRun, ShellLineMayBeginWithADash) {
  EXPECT_EQ(run("-x").exit_code, 127);  // no such command, and not an option of the shell
}

TEST_F(ProcessRun, ReadsBothStreamsSideBySide) {
  const auto outcome = run("head -c 10485760 /dev/zero >&2; head -c 1000000 /dev/zero; exit 7");
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_EQ(child.err_bytes, 10485760U);
  EXPECT_EQ(child.out_bytes, 1000000U);
}

TEST_F(ProcessRun, MuchOutputCostsNoMemory) {
  run("head -c 1000000 /dev/zero");
  const auto before = own_usage().value().resident_bytes;
  const auto bytes_before = child.out_bytes;
  constexpr std::uint64_t kBytes = 256ULL << 20;
  EXPECT_EQ(run("head -c " + std::to_string(kBytes) + " /dev/zero").exit_code, 0);
  EXPECT_EQ(child.out_bytes - bytes_before, kBytes);
  EXPECT_LT(own_usage().value().resident_bytes, before + (8U << 20));
}

TEST_F(ProcessRun, KeepsOutputWithoutANewlineAndBytesThatAreNotText) {
  run("printf 'no newline\\377\\000x'");
  EXPECT_EQ(child.out, std::string("no newline\xff\0x", 13));
}

TEST_F(ProcessRun, EmptyInputIsAnEndOfFile) {
  EXPECT_EQ(run("cat; read line; echo $?").exit_code, 0);
  EXPECT_EQ(child.out, "1\n");
}

TEST_F(ProcessRun, GivesInputAsItIs) {
  auto spec = shell("cat");
  spec.standard_input = "first\nsecond" + std::string("\0\xff", 2);
  EXPECT_EQ(run(spec).exit_code, 0);
  EXPECT_EQ(child.out, spec.standard_input);
  spec.standard_input = std::string(4 << 20, 'x');
  EXPECT_EQ(run(spec).exit_code, 0);
  EXPECT_EQ(child.out_bytes, 14U + (4U << 20));
}

TEST_F(ProcessRun, InputThatNobodyReadsBlocksNobody) {
  auto spec = shell("exec <&-; echo done");
  spec.standard_input = std::string(4 << 20, 'x');
  EXPECT_EQ(run(spec).exit_code, 0);
  EXPECT_EQ(child.out, "done\n");
}

TEST_F(ProcessRun, GrandchildThatHoldsThePipeDelaysTheEndByTheDrainOnly) {
  auto spec = shell("sleep 60 & echo $!");
  spec.drain = 200ms;
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome = run(spec);
  EXPECT_LT(since(begin), 10s);
  EXPECT_GE(since(begin), 200ms);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(outcome.streams_left_open);
  EXPECT_TRUE(outcome.survivors.empty());
  // What a command leaves in the background on purpose lives on.
  const auto left = remains();
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(std::to_string(left[0].pid) + "\n", child.out);
  EXPECT_EQ(left[0].command, "sleep 60");
}

TEST_F(ProcessRun, LateOutputOfAGrandchildIsKeptDuringTheDrain) {
  const auto fifo = std::filesystem::temp_directory_path() / run_id;
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  auto spec = shell("(read line < \"$FIFO\"; echo late) & echo early");
  spec.environment["FIFO"] = fifo;
  spec.drain = 10s;
  std::jthread release([&] {
    child.await_output("early");
    std::ofstream(fifo) << "go\n";
  });
  const auto outcome = run(spec);
  release.join();
  std::filesystem::remove(fifo);
  EXPECT_EQ(child.out, "early\nlate\n");
  EXPECT_FALSE(outcome.streams_left_open);
}

TEST_F(ProcessRun, ChildInheritsNoDescriptor) {
  const int leaked = ::open("/dev/null", O_RDONLY);  // without close-on-exec, as a library might
  const int high = ::fcntl(leaked, F_DUPFD, 700);
  ASSERT_GE(high, 700);
  run("ls /proc/self/fd; ls -l /proc/self/fd/0 >&2");
  ::close(leaked);
  ::close(high);
  EXPECT_EQ(child.out, "0\n1\n2\n3\n");  // 3 is the folder that ls reads
  EXPECT_THAT(child.err, HasSubstr("/dev/null"));
}

TEST_F(ProcessRun, EnvironmentIsExactlyWhatWasGiven) {
  ::setenv("LD_LIBRARY_PATH", "/nowhere", 1);
  ::setenv("AGENTTASK_TOKEN", "secret", 1);
  auto spec = shell("");
  spec.argv = {"env"};
  spec.environment["MINE"] = "a=b c";
  run(spec);
  ::unsetenv("LD_LIBRARY_PATH");
  ::unsetenv("AGENTTASK_TOKEN");
  std::string expected = "AGENTTASK_RUN_ID=" + run_id + "\n";
  for (const auto& [name, value] : spec.environment) expected += name + "=" + value + "\n";
  EXPECT_EQ(child.out, expected);
  EXPECT_EQ(spec.environment.size(), 7U);
}

TEST_F(ProcessRun, SignalsSessionAndUmaskAreClean) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGUSR2, SIG_IGN);
  sigset_t blocked;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  const auto mask = ::umask(0077);
  run("cat /proc/self/status | grep -E '^Sig(Blk|Ign|Cgt):'; umask; cut -d' ' -f5,6 /proc/self/stat >&2");
  ::umask(mask);
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
  ::signal(SIGUSR2, SIG_DFL);
  ::signal(SIGPIPE, SIG_DFL);
  EXPECT_EQ(child.out,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n0022\n");
  const auto pid = std::to_string(child.pid);
  EXPECT_EQ(child.err, pid + " " + pid + "\n");  // process group and session
}

TEST_F(ProcessRun, StartsInItsFolder) {
  run("pwd");
  auto spec = shell("pwd");
  spec.cwd = "/usr/bin";
  run(spec);
  spec.argv = {"./env", "pwd"};  // a relative program is taken from there, too
  run(spec);
  EXPECT_EQ(child.out, "/\n/usr/bin\n/usr/bin\n");
}

TEST_F(ProcessRun, RunsAsAnotherUser) {
  if (!is_administrator()) GTEST_SKIP() << "becoming another user needs root";
  auto spec = shell("id -un; id -G; echo $HOME $USER; touch /root/x 2>/dev/null || echo denied");
  spec.environment = clean_environment("nobody").value();
  spec.run_as = "nobody";
  EXPECT_EQ(run(spec).exit_code, 0);
  EXPECT_EQ(child.out, "nobody\n65534\n/nonexistent nobody\ndenied\n");
  spec.argv = shell_command("cat /dev/stdin; echo err > /dev/stderr; echo out > /dev/stdout").value();
  spec.standard_input = "in\n";
  EXPECT_EQ(run(spec).exit_code, 0);
  EXPECT_THAT(child.out, ::testing::EndsWith("in\nout\n"));
  EXPECT_EQ(child.err, "err\n");
}

TEST_F(ProcessRun, ManyAtOnceKeepTheirOutputAndExitCodes) {
  constexpr std::size_t kRuns = 30;
  constexpr int kRounds = 5;
  std::vector<Recorder> children(kRuns);
  std::vector<std::vector<std::optional<int>>> codes(kRuns);
  std::vector<std::jthread> threads;
  for (std::size_t index = 0; index < kRuns; ++index) {
    threads.emplace_back([&, index] {
      const auto text = std::to_string(index);
      // With an orphan that ends at once: collecting it must not take another run's end.
      const auto spec = shell("(:&); echo " + text + "; exit " + text);
      for (int round = 0; round < kRounds; ++round) {
        const auto outcome = supervisor.run(spec, {}, children[index]);
        codes[index].push_back(outcome ? outcome->exit_code : std::nullopt);
      }
    });
  }
  threads.clear();
  for (std::size_t index = 0; index < kRuns; ++index) {
    std::string lines;
    for (int round = 0; round < kRounds; ++round) lines += std::to_string(index) + "\n";
    EXPECT_EQ(children[index].out, lines);
    EXPECT_THAT(codes[index], ::testing::Each(std::optional<int>(static_cast<int>(index))));
  }
}

TEST_F(ProcessRun, ObserverThatThrowsLeavesNothingRunning) {
  struct Thrower : ProcessObserver {
    void started(std::int64_t) override {}
    void output(OutputStream, std::string_view) override { throw std::runtime_error("broken"); }
  } thrower;
  EXPECT_THROW(static_cast<void>(supervisor.run(shell("sleep 60 & echo out; sleep 60"), {}, thrower)),
               std::runtime_error);
  EXPECT_TRUE(remains().empty());
}

TEST_F(ProcessRun, LeavesNoDescriptorAndNoZombie) {
  run("true");
  const auto before = own_usage().value().open_files;
  for (int round = 0; round < 20; ++round) run("(:&); (: &) | cat");
  EXPECT_EQ(own_usage().value().open_files, before);
  for (int tries = 0; tries < 500; ++tries) {
    supervisor.reap_orphans();
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) return;  // no child of any kind
    std::this_thread::sleep_for(10ms);  // the last orphan may still be ending, and nothing tells us
  }
  FAIL() << "children are left";
}

}  // namespace
}  // namespace agenttask::os
