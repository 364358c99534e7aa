#include "platform/os/host.hpp"

#include <gmock/gmock.h>

#include "platform/os/paths.hpp"

namespace agenttask::os {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

TEST(Host, TellsFacts) {
  EXPECT_FALSE(host_name().empty());
  EXPECT_THAT(platform_name(), StartsWith("linux-"));
  EXPECT_THAT(system_description(), HasSubstr("Linux "));
  EXPECT_THAT(boot_id(), MatchesRegex("[0-9a-f-]{36}"));
  EXPECT_FALSE(current_user_name().empty());
  EXPECT_GT(current_pid(), 1);
  EXPECT_GT(terminal_width(), 0);
}

TEST(Host, TellsFreeSpace) {
  EXPECT_GT(free_disk_bytes("/tmp").value(), 0U);
  EXPECT_FALSE(free_disk_bytes("/no/such/folder"));
}

TEST(Host, TellsItsOwnUsage) {
  const auto usage = own_usage().value();
  EXPECT_GT(usage.resident_bytes, 1U << 20);
  EXPECT_GT(usage.private_bytes, 0U);
  EXPECT_LE(usage.private_bytes, usage.resident_bytes + (1U << 20));
  EXPECT_GE(usage.threads, 1);
  EXPECT_GE(usage.open_files, 3);
  EXPECT_GE(usage.cpu_milliseconds, 0);
}

TEST(Folders, AreTheSystemsOrOnesOwn) {
  EXPECT_EQ(default_folders().config, "/etc/agenttask");
  EXPECT_EQ(default_folders().state, "/var/lib/agenttask");
  EXPECT_EQ(default_folders().console_address(), "/run/agenttask/agent.sock");
  const auto own = folders_inside("/home/me/./x/");
  EXPECT_EQ(own.config, "/home/me/x");
  EXPECT_EQ(own.state, "/home/me/x");
  EXPECT_EQ(own.console_address(), "/home/me/x/run/agent.sock");
  EXPECT_TRUE(folders_inside("relative").state.is_absolute());
}

}  // namespace
}  // namespace agenttask::os
