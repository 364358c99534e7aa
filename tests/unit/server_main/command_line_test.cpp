#include "server/main/command_line.hpp"

#include <gmock/gmock.h>

namespace agenttask::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

Result<CommandLine> read(const std::vector<std::string>& arguments,
                         std::map<std::string, std::string> environment = {}) {
  return read_command_line(arguments, [&](const std::string& name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  });
}

TEST(CommandLine, RunTakesEverySetting) {
  std::vector<std::string> arguments{"run", "--state-dir", "/s", "--config", "/c"};
  for (const auto& field : server_settings().settings()) {
    arguments.push_back("--" + std::string(field.name));
    arguments.push_back("x");
  }
  const auto line = read(arguments);
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->verb, Verb::run);
  EXPECT_EQ(line->state_dir, "/s");
  EXPECT_EQ(line->configuration, "/c");
  EXPECT_EQ(line->flags.size(), server_settings().settings().size());
}

TEST(CommandLine, FoldersComeFromTheEnvironmentToo) {
  const auto line = read({"run"}, {{"AGENTTASK_SERVER_STATE_DIR", "/e"}, {"AGENTTASK_SERVER_CONFIG", "/f"}});
  EXPECT_EQ(line->state_dir, "/e");
  EXPECT_EQ(line->configuration, "/f");
  EXPECT_EQ(read({"run", "--state-dir", "/s"}, {{"AGENTTASK_SERVER_STATE_DIR", "/e"}})->state_dir, "/s");
}

TEST(CommandLine, InitTakesNamesMoreThanOnce) {
  const auto line = read({"init", "--host", "a,b", "--name", "::1"});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->verb, Verb::init);
  EXPECT_EQ(line->flags.at("host"), "a,b,::1");
}

TEST(CommandLine, TokensHaveTimesUsesAndLabels) {
  const auto line = read({"token", "create", "--ttl", "7d", "--uses", "3", "--label", "site=berlin",
                          "--label", "rack = 4", "--label", "spring", "--replace", "old"});
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->verb, Verb::create_token);
  EXPECT_EQ(line->ttl, 7LL * 24 * 3600 * 1000);
  EXPECT_EQ(line->uses, 3);
  EXPECT_EQ(line->description, "spring");
  EXPECT_THAT(line->labels, ElementsAre(Pair("rack ", " 4"), Pair("site", "berlin")));
  EXPECT_EQ(line->replace, "old");
  const auto plain = read({"token", "create"});
  EXPECT_EQ(plain->ttl, 24LL * 3600 * 1000);
  EXPECT_EQ(plain->uses, 1);
}

TEST(CommandLine, HelpAndVersionArePrinted) {
  EXPECT_THAT(read({"--version"})->text, HasSubstr("agenttask-server "));
  const auto help = read({"--help"});
  EXPECT_EQ(help->verb, Verb::text);
  EXPECT_THAT(help->text, HasSubstr("agenttask-server init --state-dir"));
  EXPECT_THAT(read({"token", "create", "--help"})->text, HasSubstr("--replace"));
  EXPECT_THAT(read({"run", "--help"})->text, HasSubstr("AGENTTASK_SERVER_MAX_CONNECTIONS"));
}

class RefusedLine : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(RefusedLine, IsInvalid) {
  const auto line = read(GetParam());
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().code, ErrorCode::invalid);
}

INSTANTIATE_TEST_SUITE_P(
    CommandLine, RefusedLine,
    ::testing::Values(std::vector<std::string>{}, std::vector<std::string>{"bogus"},
                      std::vector<std::string>{"run", "--bogus"}, std::vector<std::string>{"run", "--port"},
                      std::vector<std::string>{"run", "--port", "1", "--port", "2"},
                      std::vector<std::string>{"token"}, std::vector<std::string>{"operator"},
                      std::vector<std::string>{"init", "--port", "1"},
                      std::vector<std::string>{"token", "create", "--ttl", "5"},
                      std::vector<std::string>{"token", "create", "--ttl", "367d"},
                      std::vector<std::string>{"token", "create", "--uses", "0"},
                      std::vector<std::string>{"token", "create", "--label", "a", "--label", "b"},
                      std::vector<std::string>{"token", "create", "--label", "a=1", "--label", "a=2"},
                      std::vector<std::string>{"token", "create", "--label", "=1"}));

}  // namespace
}  // namespace agenttask::server
