#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <windows.h>

#include <gmock/gmock.h>

#include "platform/os/host.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/wide.hpp"
#include "tests/component/os/windows/child_program.hpp"
#include "tests/support/windows/wine.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class WindowsProcess : public ProcessTest {
 protected:
  ProcessSpec spec(const std::vector<std::string>& words) {
    ProcessSpec made{.argv = child_argv(words),
                     .environment = clean_environment().value(),
                     .run_id = run_id,
                     .grace = 300ms};
    made.environment[kChildVariable] = "1";
    return made;
  }
  ProcessOutcome act(const std::vector<std::string>& words) { return run(spec(words)); }
  /// The number that the child printed first.
  unsigned long printed_pid() {
    child.await_output("\n");
    return std::stoul(child.out);
  }
  static bool ends(unsigned long pid) {
    for (const auto until = std::chrono::steady_clock::now() + 10s;
         std::chrono::steady_clock::now() < until;) {
      if (!is_running(pid)) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
};

TEST_F(WindowsProcess, ArgumentsArriveAsTheyAre) {
  std::mt19937 random(7);
  const std::vector<std::string> pieces{"a", " ", "\t", "\"", "\\", "\\\\", "\\\"", "'",  "%PATH%",
                                        "^", "&", "|",  ">",  "*",  "\n",   "é",    "日", "😀"};
  for (int round = 0; round < 5; ++round) {
    std::vector<std::string> words{"arguments", "", " ", "\\", "\"", "a\\\\\"b c\\"};
    std::string expected;
    for (int count = 0; count < 60; ++count) {
      words.emplace_back();
      for (unsigned length = random() % 9; length > 0; --length)
        words.back() += pieces[random() % pieces.size()];
    }
    for (std::size_t at = 1; at < words.size(); ++at) {
      expected += std::to_string(words[at].size()) + "\n" + words[at] + "\n";
    }
    child.out.clear();
    EXPECT_EQ(act(words).exit_code, 0);
    EXPECT_EQ(child.out, expected);
  }
}

TEST_F(WindowsProcess, ExitCodesHave32Bits) {
  for (const long long code : {0LL, 3LL, 255LL, 256LL, 65'536LL}) {
    EXPECT_EQ(act({"exit", std::to_string(code)}).exit_code, static_cast<int>(code));
  }
  EXPECT_EQ(act({"exit", std::to_string(0xC0000005LL)}).exit_code, -1'073'741'819);
}

TEST_F(WindowsProcess, ReadsBothStreamsSideBySide) {
  const auto outcome = act({"write", "1000000", "10485760"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(child.out_bytes, 1'000'000U);
  EXPECT_EQ(child.err_bytes, 10'485'760U);
  EXPECT_FALSE(outcome.streams_left_open);
}

TEST_F(WindowsProcess, MuchOutputCostsNoMemory) {
  act({"write", "1000000", "0"});
  const auto before = own_usage().value().resident_bytes;
  const auto bytes_before = child.out_bytes;
  EXPECT_EQ(act({"write", "67108864", "0"}).exit_code, 0);
  EXPECT_EQ(child.out_bytes - bytes_before, 67'108'864U);
  EXPECT_LT(own_usage().value().resident_bytes, before + (8U << 20));
}

TEST_F(WindowsProcess, GivesInputAsItIs) {
  auto copy = spec({"copy"});
  EXPECT_EQ(run(copy).exit_code, 0);
  EXPECT_EQ(child.out, "");
  copy.standard_input = std::string("first\r\nsecond\n\x1a\0\xff", 17);
  EXPECT_EQ(run(copy).exit_code, 0);
  EXPECT_EQ(child.out, copy.standard_input);
  copy.standard_input = std::string(4 << 20, 'x');
  EXPECT_EQ(run(copy).exit_code, 0);
  EXPECT_EQ(child.out_bytes, 17U + (4U << 20));
}

TEST_F(WindowsProcess, InputThatNobodyReadsBlocksNobody) {
  auto exits = spec({"exit", "4"});
  exits.standard_input = std::string(4 << 20, 'x');
  EXPECT_EQ(run(exits).exit_code, 4);
}

class Asker : public Recorder {
 public:
  void opened(ProcessInput& input) override {
    input_ = &input;
    EXPECT_TRUE(input.write("question\n"));
  }
  void output(OutputStream stream, std::string_view bytes) override {
    Recorder::output(stream, bytes);
    if (out == "question\n" && !std::exchange(answered_, true)) {
      EXPECT_TRUE(input_->write("more\n"));
      input_->close();
    }
  }

 private:
  ProcessInput* input_ = nullptr;
  bool answered_ = false;
};

TEST_F(WindowsProcess, TalksWithAnInteractiveChild) {
  auto copy = spec({"copy"});
  copy.interactive = true;
  Asker asker;
  const auto outcome = supervisor.run(copy, {}, asker);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_EQ(asker.out, "question\nmore\n");
}

TEST_F(WindowsProcess, TheTimeoutEndsTheWholeTree) {
  auto tree = spec({"tree"});
  tree.timeout = 3s;
  const auto outcome = run(tree);
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_FALSE(outcome.exit_code && *outcome.exit_code == 0);
  EXPECT_TRUE(outcome.survivors.empty());
  EXPECT_FALSE(is_running(printed_pid()));
  EXPECT_FALSE(is_running(static_cast<unsigned long>(child.pid)));
}

TEST_F(WindowsProcess, AStopEndsTheWholeTree) {
  std::stop_source stop;
  std::jthread stopper([&] {
    child.await_output("\n");
    stop.request_stop();
  });
  const auto outcome = run(spec({"tree"}), stop.get_token());
  EXPECT_TRUE(outcome.stopped);
  EXPECT_TRUE(outcome.survivors.empty());
  EXPECT_FALSE(is_running(printed_pid()));
}

TEST_F(WindowsProcess, WhatIsKilledSaysSo) {
  if (!test::is_wine()) GTEST_SKIP() << "a console program ends at the polite stop here";
  auto sleeper = spec({"sleep"});
  sleeper.timeout = 500ms;
  const auto outcome = run(sleeper);
  EXPECT_FALSE(outcome.exit_code);
  EXPECT_EQ(outcome.signal_number, 9);
}

TEST_F(WindowsProcess, AStopBeforeTheStartStartsNothing) {
  std::stop_source stop;
  stop.request_stop();
  const auto outcome = run(spec({"exit", "0"}), stop.get_token());
  EXPECT_TRUE(outcome.stopped);
  EXPECT_FALSE(outcome.started);
}

TEST_F(WindowsProcess, WhatWasLeftOnPurposeLivesOnAndIsFoundByItsMark) {
  auto leave = spec({"leave"});
  leave.drain = 200ms;
  const auto outcome = run(leave);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(outcome.streams_left_open);
  const auto left = printed_pid();
  EXPECT_TRUE(is_running(left));
  const auto found = remains();
  // Its console is a process of its own, which the system starts for it.
  const auto one = std::find_if(found.begin(), found.end(), [left](const ProcessInfo& info) {
    return static_cast<unsigned long>(info.pid) == left;
  });
  ASSERT_NE(one, found.end());
  EXPECT_THAT(one->command, HasSubstr(".exe"));
  EXPECT_LE(found.size(), 2U);
  EXPECT_TRUE(ends(left));
  EXPECT_TRUE(remains().empty());
}

TEST_F(WindowsProcess, WithTheAgentEndsWhatItRuns) {
  auto supervise = spec({"supervise", run_id + "-inner"});
  std::stop_source stop;
  supervise.grace = 0ms;
  std::jthread runner([&] { run(supervise, stop.get_token()); });
  const auto inner = printed_pid();
  EXPECT_TRUE(is_running(inner));
  // kill -9
  const Handle agent(::OpenProcess(PROCESS_TERMINATE, FALSE, static_cast<DWORD>(child.pid)));
  ASSERT_TRUE(::TerminateProcess(agent.get(), 1));
  EXPECT_TRUE(ends(inner));
}

TEST_F(WindowsProcess, ARecordFindsWhatStillRuns) {
  const auto record = std::filesystem::temp_directory_path() / (run_id + ".record");
  auto sleeper = spec({"sleep"});
  sleeper.run_id.clear();
  sleeper.record = record;
  std::stop_source stop;
  std::jthread runner([&] { run(sleeper, stop.get_token()); });
  while (child.pid == 0) std::this_thread::sleep_for(5ms);
  const std::filesystem::path records[] = {record};
  const auto report = supervisor.stop_marked({}, 0ms, records);
  ASSERT_EQ(report.found.size(), 1U);
  EXPECT_EQ(report.found[0].pid, child.pid);
  EXPECT_TRUE(report.survivors.empty());
  runner.join();
  EXPECT_TRUE(supervisor.stop_marked({}, 0ms, records).found.empty());
  std::filesystem::remove(record);
}

TEST_F(WindowsProcess, StopsThePartsOfARunWithIt) {
  auto part = spec({"sleep"});
  part.run_id = run_id + "/service-1";
  Recorder part_child;
  std::jthread other([&] { EXPECT_TRUE(supervisor.run(part, {}, part_child)); });
  while (part_child.pid == 0) std::this_thread::sleep_for(5ms);
  auto whole = spec({"sleep"});
  whole.timeout = 300ms;
  EXPECT_TRUE(run(whole).timed_out);
  EXPECT_TRUE(ends(static_cast<unsigned long>(part_child.pid)));
}

TEST_F(WindowsProcess, InheritsNoHandleOfOurs) {
  SECURITY_ATTRIBUTES inheritable{sizeof(SECURITY_ATTRIBUTES), nullptr, TRUE};
  std::vector<Handle> events;  // numbers that the child has not in use by chance
  for (int count = 0; count < 600; ++count)
    events.emplace_back(::CreateEventW(&inheritable, TRUE, FALSE, nullptr));
  const auto number = reinterpret_cast<std::uintptr_t>(events.back().get());
  EXPECT_EQ(act({"handle", std::to_string(number)}).exit_code, 0);
  EXPECT_EQ(child.out, "closed\n");
}

TEST_F(WindowsProcess, RunsAShellLine) {
  EXPECT_EQ(run("echo a b& exit 5").exit_code, 5);
  EXPECT_EQ(child.out, "a b\r\n");
}

TEST_F(WindowsProcess, TheEnvironmentIsWhatWasGiven) {
  ::SetEnvironmentVariableW(L"OF_OUR_OWN", L"secret");
  auto line = shell("echo %OF_OUR_OWN%/%given%/%AGENTTASK_RUN_ID%/%AGENTTASK_OPTION%");
  line.environment["GIVEN"] = "thé";
  line.own_environment[kOptionVariable] = "yes";
  EXPECT_EQ(run(line).exit_code, 0);
  EXPECT_THAT(child.out, HasSubstr("%OF_OUR_OWN%/"));
  EXPECT_THAT(child.out, HasSubstr("/" + run_id + "/yes"));
}

TEST(WindowsEnvironment, HasWhatProgramsRelyOnAndNothingOfOurs) {
  ::SetEnvironmentVariableW(L"OF_OUR_OWN", L"secret");
  auto environment = clean_environment().value();
  add_variables(environment, {{"Path", "C:\\only"}});
  std::vector<std::string> paths;
  for (const auto& [name, value] : environment) {
    if (::CompareStringOrdinal(to_wide(name).c_str(), -1, L"PATH", -1, TRUE) == CSTR_EQUAL)
      paths.push_back(value);
  }
  EXPECT_EQ(paths, std::vector<std::string>{"C:\\only"});
  EXPECT_FALSE(environment.contains("OF_OUR_OWN"));
  for (const char* name : {"SystemRoot", "ComSpec", "TEMP"}) {
    EXPECT_TRUE(std::any_of(environment.begin(), environment.end(), [&](const auto& one) {
      return ::_stricmp(one.first.c_str(), name) == 0;
    })) << name;
  }
  EXPECT_TRUE(check_environment(environment));
  for (const char* name : {"", "A=B", "=C:", "AGENTTASK_X", "agenttask_x", "LD_PRELOAD"}) {
    EXPECT_FALSE(check_environment({{name, "x"}})) << name;
  }
}

class WindowsPrograms : public WindowsProcess {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / run_id;
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    ProcessTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  void write(const char* name, const char* text) { std::ofstream(folder_ / name, std::ios::binary) << text; }
  std::filesystem::path folder_;
};

TEST_F(WindowsPrograms, ABatchFileGetsItsArgumentsLiterally) {
  write("say it.cmd", "@echo [%~1][%~2][%~3]\r\n@exit /b 7\r\n");
  auto batch = shell("");
  batch.argv = {to_utf8((folder_ / L"say it.cmd").wstring()), "a b", "c&d", "e^|f"};
  EXPECT_EQ(run(batch).exit_code, 7);
  EXPECT_THAT(child.out, HasSubstr("[a b]"));
  batch.argv = {to_utf8((folder_ / L"say it.cmd").wstring()), "%PATH%"};
  const auto refused = supervisor.run(batch, {}, child);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid);
  EXPECT_EQ(refused.error().field, "argv");
}

TEST_F(WindowsPrograms, ANameIsLookedUpInThePathAloneAndWithItsEndings) {
  write("planted.cmd", "@echo planted\r\n");
  auto spec = shell("");
  spec.cwd = to_utf8(folder_.wstring());
  spec.argv = {"planted"};
  auto missing = locate_program(spec);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  add_variables(spec.environment, {{"PATH", ".;relative;" + to_utf8(folder_.wstring())}});
  ASSERT_TRUE(locate_program(spec));
  EXPECT_EQ(*locate_program(spec), folder_ / "planted.CMD");
  add_variables(spec.environment, {{"PATH", ".;" + std::string("relative")}});
  EXPECT_FALSE(locate_program(spec));
  spec.argv = {".\\planted.cmd"};
  EXPECT_TRUE(locate_program(spec));
}

TEST_F(WindowsPrograms, SaysWhatCannotBeStarted) {
  const auto error = [&](ProcessSpec spec) {
    const auto outcome = supervisor.run(spec, {}, child);
    return outcome ? Error{} : outcome.error();
  };
  auto spec = shell("echo");
  spec.cwd = "C:\\no such folder";
  EXPECT_EQ(error(spec).code, ErrorCode::not_found);
  EXPECT_EQ(error(spec).field, "cwd");
  spec = shell("echo");
  spec.argv = {"C:\\no such file.exe"};
  EXPECT_EQ(error(spec).code, ErrorCode::not_found);
  spec.argv = {"C:\\windows"};
  EXPECT_EQ(error(spec).field, "argv");
  write("text.exe", "this is no program");
  spec.argv = {to_utf8((folder_ / "text.exe").wstring())};
  EXPECT_EQ(error(spec).code, ErrorCode::invalid);
  spec = shell("echo");
  spec.run_as = "no-such-user";
  EXPECT_EQ(error(spec).code, ErrorCode::not_found);
  EXPECT_EQ(error(spec).field, "runAs");
  spec.run_as = "S-1-5-19";  // the system's own for services on this machine
  EXPECT_EQ(error(spec).code, ErrorCode::unsupported);
  EXPECT_EQ(error(spec).field, "runAs");
  spec = shell("echo");
  spec.argv.push_back(std::string("a\0b", 3));
  EXPECT_EQ(error(spec).code, ErrorCode::invalid);
  spec.argv = {};
  EXPECT_EQ(error(spec).code, ErrorCode::invalid);
}

TEST_F(WindowsProcess, HasRoomForOneMore) {
  EXPECT_TRUE(supervisor.check_room());
  EXPECT_EQ(supervisor.containment().in_force, Containment::groups);
}

}  // namespace
}  // namespace agenttask::os
