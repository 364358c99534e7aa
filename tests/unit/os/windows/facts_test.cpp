#include <algorithm>
#include <ctime>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/os/host.hpp"
#include "platform/os/local_zone.hpp"
#include "platform/os/paths.hpp"
#include "platform/os/process.hpp"
#include "platform/os/system_clock.hpp"
#include "platform/os/user_folder.hpp"
#include "platform/os/windows/accounts.hpp"
#include "tests/support/windows/wine.hpp"

namespace agenttask::os {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

TEST(HostTest, KnowsItself) {
  EXPECT_FALSE(host_name().empty());
  EXPECT_THAT(platform_name(), StartsWith("windows-"));
  EXPECT_THAT(system_description(), AllOf(HasSubstr("Windows"), HasSubstr("10.0.")));
  EXPECT_FALSE(current_user_name().empty());
  EXPECT_EQ(current_pid(), static_cast<std::int64_t>(::GetCurrentProcessId()));
}

TEST(HostTest, TheBootStaysTheSame) {
  const auto id = boot_id();
  EXPECT_EQ(id.size(), 32U);
  EXPECT_EQ(boot_id(), id);
}

TEST(HostTest, TellsRoomAndUse) {
  EXPECT_GT(free_disk_bytes("C:\\").value(), 0U);
  EXPECT_FALSE(free_disk_bytes("C:\\no such folder"));
  const auto usage = own_usage();
  ASSERT_TRUE(usage);
  EXPECT_GT(usage->resident_bytes, 0U);
  EXPECT_GE(usage->threads, 1);
  if (!test::is_wine()) {  // which counts no handles
    EXPECT_GT(usage->open_files, 0);
  }
}

TEST(ClockTest, GoesOn) {
  const SystemClock clock;
  EXPECT_GT(clock.since_boot(), 0);
  EXPECT_LT(std::abs(clock.wall() / 1000 - static_cast<std::int64_t>(std::time(nullptr))), 5);
}

TEST(LocalZoneTest, TheWallAndItsOffsetAgree) {
  for (const std::int64_t second : {1'763'788'200LL, 1'751'364'000LL, 0LL, 4'102'444'800LL}) {
    const auto offset = utc_offset_at(second);
    ASSERT_TRUE(offset);
    EXPECT_LE(std::abs(*offset), 14 * 3600);
    const auto shown = wall_clock_at(second);
    ASSERT_TRUE(shown);
    const auto of_day = ((second + *offset) % 86400 + 86400) % 86400;
    EXPECT_EQ(shown->tm_hour * 3600LL + shown->tm_min * 60LL + shown->tm_sec, of_day);
  }
  EXPECT_FALSE(wall_clock_at(-20'000'000'000LL)) << "before what Windows can say";
}

TEST(PathsTest, EachFolderHasAPipeOfItsOwn) {
  const auto folders = default_folders();
  EXPECT_THAT(folders.config.string(), EndsWith("ProgramData\\AgentTask"));
  EXPECT_EQ(folders.state, folders.config / "state");
  EXPECT_EQ(folders.console_address(), "\\\\.\\pipe\\agenttask");
  const auto own = folders_inside("C:\\Users\\me\\x\\");
  EXPECT_EQ(own.state.string(), "C:\\Users\\me\\x");
  EXPECT_THAT(own.console_address(), MatchesRegex("\\\\\\\\.\\\\pipe\\\\agenttask-\\w+"));
  EXPECT_EQ(folders_inside("c:/users/ME/X").console_address(), own.console_address()) << "names have no case";
  EXPECT_NE(folders_inside("C:\\Users\\me\\y").console_address(), own.console_address());
  EXPECT_TRUE(user_configuration_folder());
}

TEST(EnvironmentTest, ChildrenGetWhatWindowsNeeds) {
  ::SetEnvironmentVariableW(L"NOT_FOR_CHILDREN", L"x");
  const auto environment = clean_environment();
  ::SetEnvironmentVariableW(L"NOT_FOR_CHILDREN", nullptr);
  ASSERT_TRUE(environment);
  EXPECT_THAT(*environment, Not(Contains(Key("NOT_FOR_CHILDREN"))));
  for (const char* name : {"PATH", "SystemRoot", "ComSpec", "PATHEXT", "USERNAME"})
    EXPECT_THAT(*environment, Contains(Key(name)));
  EXPECT_EQ(clean_environment("no such user here").error().field, "runAs");
  EXPECT_EQ(clean_environment("no such user here").error().code, ErrorCode::not_found);
  EXPECT_EQ(clean_environment("S-1-5-32-545").error().code, ErrorCode::unsupported);
}

TEST(EnvironmentTest, RefusesWhatIsOursInAnyCase) {
  EXPECT_TRUE(check_environment({{"Path", "C:\\x"}}));
  for (const char* name : {"", "A=B", "agenttask_run_id", "AgentTask_X", "__compat_layer"})
    EXPECT_EQ(check_environment({{name, "x"}}).error().field, std::string("env.") + name);
  EXPECT_FALSE(check_environment({{"A", "\xff"}}));
}

TEST(EnvironmentTest, KnowsTheShellsOfWindows) {
  EXPECT_THAT(shell_command("dir")->front(), EndsWith("\\cmd.exe"));
  EXPECT_EQ(shell_command("dir & ver", "cmd")->back(), "dir & ver");
  EXPECT_THAT(shell_command("x", "powershell")->front(), EndsWith("powershell.exe"));
  EXPECT_EQ(shell_command("x", "bash").error().code, ErrorCode::unsupported);
  EXPECT_EQ(shell_command("x", "fish").error().code, ErrorCode::invalid);
  EXPECT_EQ(shell_command(std::string("a\0b", 3)).error().field, "cmd");
  EXPECT_EQ(shell_command("a\nb").error().code, ErrorCode::invalid);
  EXPECT_EQ(shell_command(std::string(8001, 'x')).error().code, ErrorCode::limit);
  EXPECT_TRUE(shell_command(std::string(8000, 'x')));
}

TEST(AccountsTest, NamesAndIdentities) {
  const Sid self = user_of_this_process();
  ASSERT_TRUE(self.is_valid());
  EXPECT_EQ(system_sid().text(), "S-1-5-18");
  EXPECT_EQ(administrators_sid().text(), "S-1-5-32-544");
  EXPECT_EQ(find_account("S-1-5-18").value(), system_sid());
  EXPECT_EQ(find_account("no such account here").error().code, ErrorCode::not_found);
  EXPECT_FALSE(is_person(system_sid()));
  EXPECT_TRUE(is_person(find_account("S-1-5-21-1-2-3-1001").value()));
  EXPECT_FALSE(is_person(find_account("S-1-5-80-1-2-3-4-5").value())) << "a service's";
}

}  // namespace
}  // namespace agenttask::os
