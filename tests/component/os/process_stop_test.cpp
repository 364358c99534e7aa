#include <atomic>
#include <fstream>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>

#include "platform/os/host.hpp"
#include "platform/os/posix/process_table.hpp"
#include "platform/os/secure_file.hpp"
#include "tests/component/os/child.hpp"
#include "tests/support/posix/emulator.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;

// A tree that hears no polite word: the shell, a child, one in a session of its own, and one that was
// orphaned twice.
constexpr const char* kStubbornTree =
    "trap '' TERM; "
    "stay() { while :; do sleep 0.05; done; }; "
    "stay & "
    "setsid sh -c \"trap '' TERM; while :; do sleep 0.05; done\" & "
    "(setsid sh -c \"trap '' TERM; (while :; do sleep 0.05; done) & exit\" &) ; "
    "echo ready; stay";

// With what the system has, and by marks alone, as where it has nothing that we may use.
class ProcessStop : public ProcessTest, public ::testing::WithParamInterface<Containment> {
 protected:
  ProcessStop() : ProcessTest(GetParam()) {}
  /// Runs `spec`, asks for a stop as soon as it has written `text`, and tells how long that took.
  ProcessOutcome stop_after(const ProcessSpec& spec, std::string_view text) {
    std::stop_source source;
    std::chrono::steady_clock::time_point asked;
    std::jthread stopper([&] {
      child.await_output(text);
      asked = std::chrono::steady_clock::now();
      source.request_stop();
    });
    auto outcome = run(spec, source.get_token());
    stopper.join();
    took = since(asked);
    return outcome;
  }
  void expect_no_child() {
    supervisor.reap_orphans();
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child or a zombie is left";
  }
  std::chrono::milliseconds took{};
};

TEST_P(ProcessStop, TimeoutIsPoliteFirstAndKeepsOutput) {
  auto spec = shell("trap 'echo bye; exit 9' TERM; echo hello; while :; do sleep 0.02; done");
  spec.timeout = 300ms;
  spec.grace = 10s;
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome = run(spec);
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_FALSE(outcome.stopped);
  EXPECT_EQ(outcome.exit_code, 9);
  EXPECT_EQ(child.out, "hello\nbye\n");
  EXPECT_GE(since(begin), 300ms);
  EXPECT_LT(since(begin), 5s);  // the grace ends as soon as the tree is gone
  EXPECT_TRUE(outcome.survivors.empty());
}

TEST_P(ProcessStop, EndBeforeTheTimeoutIsNoTimeout) {
  auto spec = shell("exit 0");
  spec.timeout = 60s;
  EXPECT_FALSE(run(spec).timed_out);
}

TEST_P(ProcessStop, StubbornTreeIsKilledWholeAfterTheGrace) {
  const auto spec = shell(kStubbornTree);
  const auto outcome = stop_after(spec, "ready");
  EXPECT_TRUE(outcome.stopped);
  EXPECT_EQ(outcome.signal_name, "SIGKILL");
  EXPECT_TRUE(outcome.survivors.empty());
  EXPECT_GE(took, spec.grace);
  EXPECT_LT(took, spec.grace + 3s);
  EXPECT_TRUE(remains().empty());
  expect_no_child();
}

TEST_P(ProcessStop, MainThatGoesPolitelyDoesNotSaveItsTree) {
  const auto spec = shell(
      "trap 'exit 0' TERM; (trap '' TERM; echo ready; while :; do sleep 0.05; done) & "
      "while :; do sleep 0.02; done");
  const auto outcome = stop_after(spec, "ready");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(outcome.stopped);
  EXPECT_GE(took, spec.grace);
  EXPECT_TRUE(remains().empty());
  expect_no_child();
}

TEST_P(ProcessStop, ChildWithoutTheMarkIsFoundByItsParent) {
  const auto spec =
      shell("env -i setsid sh -c 'trap \"\" TERM; echo ready; while :; do /bin/sleep 0.05; done' & wait");
  EXPECT_TRUE(stop_after(spec, "ready").survivors.empty());
  expect_no_child();
}

TEST_P(ProcessStop, OrphanWithoutTheMarkIsFoundAsItFellToUs) {
  const auto spec = shell(
      "(env -i setsid sh -c 'trap \"\" TERM; echo ready; while :; do /bin/sleep 0.05; done' &); sleep 60");
  EXPECT_TRUE(stop_after(spec, "ready").survivors.empty());
  expect_no_child();
}

TEST_P(ProcessStop, StoppedProcessIsKilled) {
  const auto outcome = stop_after(shell("echo ready; kill -STOP $$; sleep 60"), "ready");
  EXPECT_TRUE(outcome.stopped);
  EXPECT_TRUE(outcome.signal_number);
  EXPECT_TRUE(remains().empty());
}

TEST_P(ProcessStop, WriterWithoutPauseIsStopped) {
  const auto outcome = stop_after(shell("exec yes"), "y\ny\n");
  EXPECT_TRUE(outcome.stopped);
  EXPECT_EQ(outcome.signal_name, "SIGTERM");
}

TEST_P(ProcessStop, TimeoutOfAWriterWithoutPause) {
  auto spec = shell("trap '' TERM; yes");
  spec.timeout = 200ms;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(run(spec).timed_out);
  EXPECT_LT(since(begin), 4s);
}

TEST_P(ProcessStop, TreeThatKeepsForkingIsStopped) {
  const auto spec = shell("trap '' TERM; echo ready; while :; do (setsid sleep 30 &) ; sleep 0.01; done");
  EXPECT_TRUE(stop_after(spec, "ready").survivors.empty());
  EXPECT_TRUE(remains().empty());
  expect_no_child();
}

TEST_P(ProcessStop, AStormThatIsNeverTheSameProcessTwiceIsOverOrSaid) {
  // Each process lives for a moment, in a session of its own, and leaves the next one behind.
  const auto folder = std::filesystem::temp_directory_path() / run_id;
  std::filesystem::create_directory(folder);
  const auto script = (folder / "storm").string();
  std::ofstream(script) << "#!/bin/sh\ntrap '' TERM\n[ -e " << folder.string()
                        << "/end ] || setsid \"$0\" &\n";
  ASSERT_EQ(::chmod(script.c_str(), 0755), 0);
  const auto outcome = stop_after(shell(script + "; " + script + "; echo ready; sleep 60"), "ready");
  std::size_t seen = 0;
  for (int look = 0; look < 30; ++look) {
    for (const auto& entry : read_processes()) {
      if (describe_process(entry.pid).command.find(script) != std::string::npos) ++seen;
    }
  }
  if (seen > 0) {
    EXPECT_FALSE(outcome.survivors.empty()) << "what is left was not said";
    EXPECT_EQ(supervisor.containment().in_force, Containment::marks);
  }
  std::ofstream(folder / "end").put('\n');
  remains();
  std::filesystem::remove_all(folder);
}

TEST_P(ProcessStop, StopBeforeTheStartStartsNothing) {
  std::stop_source source;
  source.request_stop();
  const auto outcome = run(shell("echo no"), source.get_token());
  EXPECT_FALSE(outcome.started);
  EXPECT_TRUE(outcome.stopped);
  EXPECT_EQ(child.pid, 0);
  EXPECT_TRUE(child.out.empty());
}

TEST_P(ProcessStop, StopAtAnyMomentEndsOneWay) {
  for (int round = 0; round < 60; ++round) {
    std::stop_source source;
    std::jthread stopper([&, round] {
      std::this_thread::sleep_for(
          std::chrono::microseconds(100 * round));  // the moment is what is tried here
      source.request_stop();
    });
    const auto outcome = run(shell("exit 4"), source.get_token());
    if (!outcome.started) {
      EXPECT_TRUE(outcome.stopped);
    } else if (!outcome.stopped) {
      EXPECT_EQ(outcome.exit_code, 4);
    } else {
      EXPECT_TRUE(outcome.exit_code == 4 || outcome.signal_number == SIGTERM);
    }
  }
  EXPECT_TRUE(remains().empty());
  expect_no_child();
}

TEST_P(ProcessStop, ManyTreesAtOnceAreStoppedEachForItself) {
  constexpr std::size_t kRuns = 8;
  std::vector<Recorder> children(kRuns);
  std::vector<ProcessOutcome> outcomes(kRuns);
  std::vector<std::jthread> threads;
  for (std::size_t index = 0; index < kRuns; ++index) {
    threads.emplace_back([&, index] {
      const bool hangs = index % 2 == 0;
      auto spec = shell(hangs ? "trap '' TERM; (setsid sleep 60 &); sleep 60" : "sleep 1; exit 3");
      spec.run_id = run_id + "-" + std::to_string(index);
      if (hangs) spec.timeout = 200ms;
      if (auto outcome = supervisor.run(spec, {}, children[index])) outcomes[index] = *outcome;
    });
  }
  threads.clear();
  for (std::size_t index = 0; index < kRuns; ++index) {
    EXPECT_EQ(outcomes[index].timed_out, index % 2 == 0);
    if (index % 2 == 1) {
      EXPECT_EQ(outcomes[index].exit_code, 3) << "the stop of a neighbour reached it";
    }
    const std::string ids[] = {run_id + "-" + std::to_string(index)};
    EXPECT_TRUE(supervisor.stop_marked(ids, 0ms).found.empty());
  }
}

TEST_P(ProcessStop, MarkedRemainsAreFoundAndStopped) {
  // They inherit that they don't hear SIGTERM.
  run("trap '' TERM; exec >/dev/null 2>&1; (setsid sh -c 'while :; do sleep 0.05; done' &); (setsid sleep 60 "
      "&)");
  const std::string ids[] = {"another-run", run_id};
  EXPECT_TRUE(supervisor.stop_marked(std::span(ids, 1), 5s).found.empty());
  const auto begin = std::chrono::steady_clock::now();
  const auto report = supervisor.stop_marked(ids, 200ms);
  EXPECT_GE(report.found.size(), 2U);
  EXPECT_TRUE(report.survivors.empty());
  EXPECT_GE(since(begin), 200ms);
  EXPECT_TRUE(supervisor.stop_marked(ids, 5s).found.empty());
  expect_no_child();
}

TEST_P(ProcessStop, RemainsThatShedTheirEnvironmentAreFound) {
  run("exec >/dev/null 2>&1; (env -i setsid /bin/sleep 60 &); (env -i /bin/sleep 60 &); env -i setsid sh -c "
      "'(/bin/sleep 60 &); /bin/sleep 60' &");
  const std::string ids[] = {"another-run", run_id};
  EXPECT_TRUE(supervisor.stop_marked(std::span(ids, 1), 5s).found.empty());
  // All of them have to be there first: nobody waits for what runs in the background.
  std::size_t found = 0;
  for (const auto until = std::chrono::steady_clock::now() + 10s;
       found < 3 && std::chrono::steady_clock::now() < until;) {
    const auto report = supervisor.stop_marked(ids, 100ms);
    EXPECT_TRUE(report.survivors.empty());
    found += report.found.size();
  }
  EXPECT_GE(found, 3U) << "one of them may be stopped before it has started the rest";
  expect_no_child();
}

TEST_P(ProcessStop, RemainsOfAPartThatShedTheirEnvironmentAreTheRuns) {
  auto part = shell("exec >/dev/null 2>&1; (env -i setsid /bin/sleep 60 &)");
  part.run_id = run_id + "/service-1";
  (void)run(part, {});
  const std::string other[] = {run_id + "/service-2"};
  EXPECT_TRUE(supervisor.stop_marked(other, 100ms).found.empty());
  const std::string whole[] = {run_id};
  std::size_t found = 0;
  for (const auto until = std::chrono::steady_clock::now() + 10s;
       found < 1 && std::chrono::steady_clock::now() < until;) {
    found += supervisor.stop_marked(whole, 100ms).found.size();
  }
  EXPECT_EQ(found, 1U);
  expect_no_child();
}

/// Processes without any mark, known by the record alone.
class ProcessRecord : public ProcessStop {
 protected:
  ProcessRecord() {
    std::filesystem::create_directory(folder_);
    spec_.run_id.clear();
    spec_.record = folder_ / "processes";
  }
  ~ProcessRecord() override { std::filesystem::remove_all(folder_); }
  StopReport stop_recorded() {
    const std::filesystem::path records[] = {spec_.record};
    return supervisor.stop_marked({}, 100ms, records);
  }
  void begin(const std::string& line) {
    spec_.argv = shell_command(line).value();
    running_ = std::jthread([this] { run(spec_); });
    child.await_output("ready");
  }

  const std::filesystem::path folder_ = std::filesystem::temp_directory_path() / run_id;
  ProcessSpec spec_ = shell("");
  std::jthread running_;
};

TEST_P(ProcessRecord, AProcessIsFoundWithItsGroup) {
  if (test::is_emulated()) GTEST_SKIP() << test::kEmulatedRecord;
  begin("trap '' TERM; (/bin/sleep 60 &); setsid /bin/sleep 60 & echo ready; wait");
  const auto report = stop_recorded();
  running_.join();
  EXPECT_GE(report.found.size(), 2U);
  EXPECT_TRUE(report.survivors.empty());
  EXPECT_TRUE(stop_recorded().found.empty());
  expect_no_child();
}

TEST_P(ProcessRecord, ANumberThatIsAnothersNowIsLeftAlone) {
  begin("echo ready; read line </dev/zero");
  const auto pid = static_cast<pid_t>(child.pid);
  std::string line = *read_file(spec_.record, 4096);
  ASSERT_EQ(line.rfind(std::to_string(pid) + " (", 0), 0U) << line;
  // The same process, but begun at another time: field 22, the 20th after the name.
  std::size_t at = line.rfind(')');
  for (int field = 0; field < 20; ++field) at = line.find(' ', at + 1);
  line[at + 1] = line[at + 1] == '1' ? '2' : '1';
  ASSERT_TRUE(write_file(spec_.record, line, Readable::by_owner));
  const auto report = stop_recorded();
  EXPECT_TRUE(report.found.empty());
  EXPECT_TRUE(report.survivors.empty());
  EXPECT_EQ(::kill(pid, 0), 0);
  EXPECT_EQ(::kill(-pid, SIGKILL), 0);
  running_.join();
}

TEST_P(ProcessRecord, WhatIsLeftInTheGroupOfOneThatIsGoneIsSaidNotKilled) {
  spec_.argv = shell_command("/bin/sleep 60 >/dev/null 2>&1 & echo $!").value();
  run(spec_);
  const pid_t left = std::stoi(child.out);
  const auto report = stop_recorded();
  EXPECT_TRUE(report.found.empty());
  ASSERT_EQ(report.survivors.size(), 1U);
  EXPECT_EQ(report.survivors[0].pid, left);
  EXPECT_EQ(::kill(left, SIGKILL), 0);
  if (test::is_emulated()) GTEST_SKIP() << test::kEmulatedOrphans;
  EXPECT_EQ(::waitpid(left, nullptr, 0), left) << "it fell to us";
}

TEST_P(ProcessRecord, ARecordThatIsNoneIsNoDanger) {
  EXPECT_TRUE(stop_recorded().found.empty()) << "there is none";
  for (const char* text :
       {"", "\n\n", "1", "1 (", "-1 (x) S 1 1 1", "0 (x) S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
        "99999999999999999999 (x) S 1 1 1 1 1 1", "no number"}) {
    ASSERT_TRUE(write_file(spec_.record, text, Readable::by_owner));
    const auto report = stop_recorded();
    EXPECT_TRUE(report.found.empty() && report.survivors.empty()) << text;
  }
}

TEST_P(ProcessRecord, WithoutARecordNothingStarts) {
  spec_.argv = {"/bin/true"};
  spec_.record = folder_ / "no-such-folder" / "processes";
  const auto outcome = supervisor.run(spec_, {}, child);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::unavailable);
  spec_.record = "/dev/full";
  const auto full = supervisor.run(spec_, {}, child);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::unavailable);
  EXPECT_NE(full.error().message.find("cannot note down"), std::string::npos) << full.error().message;
  expect_no_child();
}

// Runs as an ordinary user something that becomes root, and checks that it is reported. The exit code says
// what was wrong.
int run_what_can_not_be_stopped(const std::filesystem::path& become_root, int report) {
  if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
  ProcessSupervisor supervisor;
  Recorder child;
  const ProcessSpec spec{.argv = {become_root, "--reuid=0", "--clear-groups", "sleep", "60"},
                         .environment = clean_environment().value(),
                         .timeout = 300ms,
                         .grace = 100ms,
                         .drain = 100ms};
  const auto outcome = supervisor.run(spec, {}, child);
  const auto pid = static_cast<pid_t>(child.pid);
  if (::write(report, &pid, sizeof pid) != sizeof pid) return 6;
  if (!outcome || !outcome->timed_out) return 2;
  if (outcome->exit_code || outcome->signal_number) return 3;
  if (outcome->survivors.size() != 1 || outcome->survivors[0].pid != child.pid) return 4;
  return outcome->survivors[0].command == "sleep 60" ? 0 : 5;
}

TEST_P(ProcessStop, WhatCanNotBeStoppedIsReported) {
  if (!is_administrator()) GTEST_SKIP() << "making a program that becomes root needs root";
  const auto folder = std::filesystem::temp_directory_path() / run_id;
  std::filesystem::create_directory(folder);
  const auto become_root = folder / "become-root";
  std::filesystem::copy_file("/usr/bin/setpriv", become_root);
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(become_root.c_str(), 04755), 0);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t agent = ::fork();
  if (agent == 0) ::_exit(run_what_can_not_be_stopped(become_root, ends[1]));
  int status = 0;
  ASSERT_EQ(::waitpid(agent, &status, 0), agent);
  std::filesystem::remove_all(folder);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  pid_t survivor = 0;
  ASSERT_EQ(::read(ends[0], &survivor, sizeof survivor), static_cast<ssize_t>(sizeof survivor));
  ::close(ends[0]);
  ::close(ends[1]);
  // It fell to us, and we are root.
  ASSERT_GT(survivor, 1);
  EXPECT_EQ(::kill(survivor, SIGKILL), 0);
  if (test::is_emulated()) GTEST_SKIP() << test::kEmulatedOrphans;
  EXPECT_EQ(::waitpid(survivor, nullptr, 0), survivor);
}

TEST_P(ProcessStop, NothingMarkedIsQuick) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(supervisor.stop_marked({}, 5s).found.empty());
  const std::string ids[] = {""};
  EXPECT_TRUE(supervisor.stop_marked(ids, 5s).found.empty());
  EXPECT_LT(since(begin), 1s);
}

std::string name_of(const ::testing::TestParamInfo<Containment>& info) {
  return info.param == Containment::groups ? "Groups" : "Marks";
}
INSTANTIATE_TEST_SUITE_P(Held, ProcessStop, ::testing::Values(Containment::groups, Containment::marks),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Held, ProcessRecord, ::testing::Values(Containment::groups, Containment::marks),
                         name_of);

}  // namespace
}  // namespace agenttask::os
