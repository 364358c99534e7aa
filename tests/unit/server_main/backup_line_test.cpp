#include <gtest/gtest.h>

#include "server/main/backup.hpp"
#include "server/main/command_line.hpp"

namespace agenttask::server {
namespace {

Result<CommandLine> read(const std::vector<std::string>& arguments) {
  return read_command_line(arguments, [](const std::string&) { return std::nullopt; });
}

TEST(BackupLine, NamesItsFolder) {
  const auto backup = read({"backup", "--state-dir", "/s", "--json", "/b"});
  ASSERT_TRUE(backup) << backup.error().message;
  EXPECT_EQ(Verb::backup, backup->verb);
  EXPECT_EQ("/b", backup->backup);
  EXPECT_EQ("/s", backup->state_dir);
  EXPECT_TRUE(backup->json);
  const auto restore = read({"restore", "/b", "--replace"});
  ASSERT_TRUE(restore) << restore.error().message;
  EXPECT_EQ(Verb::restore, restore->verb);
  EXPECT_TRUE(restore->replace_state);
  EXPECT_FALSE(restore->json);
  EXPECT_FALSE(read({"backup"}));
  EXPECT_FALSE(read({"restore"}));
  EXPECT_FALSE(read({"backup", "/b", "--replace"}));
}

TEST(BackupLine, TimesAreWrittenInUtc) {
  EXPECT_EQ("1970-01-01T00:00:00Z", time_text(0));
  EXPECT_EQ("2026-11-22T11:40:09Z", time_text(1795347609999));
}

}  // namespace
}  // namespace agenttask::server
