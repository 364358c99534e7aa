// Control groups of the system itself. Where we may make none, all of this is skipped with the reason.
#include <fcntl.h>
#include <fstream>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>

#include "platform/os/posix/launch.hpp"
#include "platform/os/posix/launch_system.hpp"
#include "platform/os/posix/process_table.hpp"
#include "platform/os/posix/run_groups.hpp"
#include "tests/component/os/child.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;
using std::filesystem::path;

// Sheds whatever it could be known by: environment, limit, session, parent, descriptors; and hears no
// SIGTERM.
constexpr const char* kShedsAll =
    "env -i setsid prlimit --rttime=1000000000:1000000000 /bin/sh -c '(trap \"\" TERM; "
    "sh -c \"echo \\$PPID\"; exec <&- >&- 2>&-; while :; do /bin/sleep 0.05; done) &'";

bool runs(pid_t pid) {
  const auto entry = read_process(pid);
  return entry && !entry->is_zombie();
}

class ProcessGroups : public ProcessTest {
 protected:
  void SetUp() override {
    const auto status = supervisor.containment();
    if (status.in_force != Containment::groups) GTEST_SKIP() << status.detail;
    own_ = status.detail;
  }
  path group_of(const std::string& id) const { return own_ / ("agenttask-run-" + id); }
  ProcessOutcome stop_after(const ProcessSpec& spec, std::string_view text) {
    std::stop_source source;
    const std::jthread stopper([&] {
      child.await_output(text);
      source.request_stop();
    });
    return run(spec, source.get_token());
  }
  path own_;
};

TEST_F(ProcessGroups, TheFirstInstructionIsInside) {
  EXPECT_EQ(run("cat /proc/self/cgroup").exit_code, 0);
  EXPECT_THAT(child.out, ::testing::HasSubstr("/agenttask-run-" + run_id + "\n"));
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id))) << "it goes with the run";
}

TEST_F(ProcessGroups, WhatShedsEverythingIsStoppedBesideANeighbour) {
  // The neighbour is why an orphan without any sign could be anybody's.
  Recorder neighbour_child;
  auto neighbour = shell("echo ready; exec sleep 60");
  neighbour.run_id = run_id + "-neighbour";
  std::stop_source end;
  std::jthread beside([&] { (void)supervisor.run(neighbour, end.get_token(), neighbour_child); });
  neighbour_child.await_output("ready");
  const auto outcome =
      stop_after(shell(std::string(kShedsAll) + "; sleep 0.2; echo ready; sleep 60"), "ready");
  EXPECT_TRUE(outcome.survivors.empty());
  const auto pid = static_cast<pid_t>(std::stoi(child.out));
  EXPECT_FALSE(runs(pid));
  EXPECT_TRUE(runs(static_cast<pid_t>(neighbour_child.pid))) << "the stop of a neighbour reached it";
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id)));
  end.request_stop();
}

TEST_F(ProcessGroups, AStormThatIsNeverTheSameProcessTwiceIsOver) {
  // Each process lives for a moment, in a session of its own, and leaves another one behind.
  const path script = std::filesystem::temp_directory_path() / run_id;
  std::ofstream(script) << "#!/bin/sh\ntrap '' TERM\nsetsid \"$0\" &\n";
  ASSERT_EQ(::chmod(script.c_str(), 0755), 0);
  const auto word = script.string();
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome = stop_after(
      shell(word + "; " + word + "; " + word + "; echo ready; exec sleep 60 2>/dev/null"), "ready");
  EXPECT_TRUE(outcome.survivors.empty());
  EXPECT_LT(since(begin), 5s);
  for (const auto& entry : read_processes()) {
    EXPECT_THAT(describe_process(entry.pid).command, ::testing::Not(::testing::HasSubstr(word)));
  }
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id)));
  std::filesystem::remove(script);
}

TEST_F(ProcessGroups, WhatIsLeftOnPurposeKeepsItsGroupUntilItEnds) {
  run("exec >/dev/null 2>&1; sleep 60 &");
  EXPECT_TRUE(std::filesystem::exists(group_of(run_id)));
  const auto pids = RunGroup(group_of(run_id), nullptr).members();
  ASSERT_EQ(pids.size(), 1U);
  EXPECT_TRUE(runs(pids[0]));
  ASSERT_EQ(::kill(pids[0], SIGKILL), 0);
  while (runs(pids[0])) std::this_thread::sleep_for(1ms);
  supervisor.reap_orphans();
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id)));
}

TEST_F(ProcessGroups, OfACrashedAgentAreFoundByName) {
  run(kShedsAll);
  child.await_output("\n");
  const auto pid = static_cast<pid_t>(std::stoi(child.out));
  ASSERT_TRUE(runs(pid));
  // Another agent, as after a crash. It knows no more than the run's id.
  ProcessSupervisor after;
  const std::string ids[] = {"another-run", run_id};
  EXPECT_TRUE(after.stop_marked(std::span(ids, 1), 0ms).found.empty());
  EXPECT_TRUE(runs(pid));
  const auto report = after.stop_marked(ids, 100ms);
  EXPECT_THAT(report.found, ::testing::Contains(::testing::Field(&ProcessInfo::pid, pid)));
  EXPECT_TRUE(report.survivors.empty());
  EXPECT_FALSE(runs(pid));
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id)));
}

TEST_F(ProcessGroups, AnAgentThatATaskStartedIsNotKilledAsThatTasksRemains) {
  const auto groups = RunGroups::of_this_process();
  const auto group = groups->make(run_id);
  ASSERT_TRUE(group);
  const pid_t agent = ::fork();
  if (agent == 0) {
    if (!enter(group->open_folder().get())) ::_exit(1);
    const std::string ids[] = {run_id};
    ProcessSupervisor inside;
    ::_exit(inside.stop_marked(ids, 0ms).found.empty() ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(agent, &status, 0), agent);
  EXPECT_TRUE(WIFEXITED(status)) << "it killed itself";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ProcessGroups, APartIsStoppedAloneAndWithItsRun) {
  Recorder part_child;
  std::jthread beside;
  std::stop_source end_of_run;
  std::jthread main(
      [&] { (void)supervisor.run(shell("echo ready; exec sleep 60"), end_of_run.get_token(), child); });
  child.await_output("ready");
  auto part = shell("setsid sleep 60 & echo ready; sleep 60");
  part.run_id = run_id + "/service-1";
  std::stop_source end_of_part;
  beside = std::jthread([&] { (void)supervisor.run(part, end_of_part.get_token(), part_child); });
  part_child.await_output("ready");
  EXPECT_TRUE(std::filesystem::exists(group_of(run_id) / "service-1"));
  end_of_part.request_stop();
  beside.join();
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id) / "service-1"));
  EXPECT_TRUE(runs(static_cast<pid_t>(child.pid)));
  end_of_run.request_stop();
  main.join();
  EXPECT_FALSE(std::filesystem::exists(group_of(run_id)));
}

TEST_F(ProcessGroups, AnOlderSystemFreezesAndKills) {
  const auto groups = RunGroups::of_this_process();
  const auto group = groups->make(run_id);
  ASSERT_TRUE(group);
  const pid_t main = ::fork();
  if (main == 0) {
    if (!enter(group->open_folder().get())) ::_exit(1);
    ::execl("/bin/sh", "sh", "-c", "trap '' TERM; while :; do setsid sleep 60 & sleep 0.01; done", nullptr);
    ::_exit(2);
  }
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (group->members().size() < 10 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(5ms);
  EXPECT_GE(group->members().size(), 10U);
  while (group->is_populated() && std::chrono::steady_clock::now() < until) group->kill_frozen();
  EXPECT_FALSE(group->is_populated());
  int status = 0;
  ASSERT_EQ(::waitpid(main, &status, 0), main);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST_F(ProcessGroups, AGroupThatIsGoneStopsNoRunFromBeginning) {
  // Somebody removes it between its making and the start: then the marks are what is left.
  const auto groups = RunGroups::of_this_process();
  const auto group = groups->make(run_id);
  const auto folder = group->open_folder();
  ASSERT_EQ(::rmdir(group->folder().c_str()), 0);
  LaunchRequest request;
  request.executable = "/bin/true";
  request.argv = {"true"};
  request.cwd = "/";
  const Descriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  request.standard_input = request.standard_output = request.standard_error = nothing.get();
  request.group = folder.get();
  const auto launched = launch(request);
  ASSERT_TRUE(launched);
  EXPECT_EQ(launched->group_error, ENOENT);
  int status = 0;
  ASSERT_EQ(::waitpid(launched->pid, &status, 0), launched->pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace agenttask::os
