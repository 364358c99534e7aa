#include "agent/policy/policy.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

TaskSpec command(const std::string& data) {
  TaskSpec spec;
  spec.type = "command";
  spec.data = data;
  return spec;
}

class PolicyTest : public testing::Test {
 protected:
  void write(const std::string& text) {
    std::ofstream(file_) << text;
    std::filesystem::permissions(file_,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  static bool allows(const std::string& policy, const TaskSpec& spec) {
    const auto rules = parse_policy(policy);
    EXPECT_TRUE(rules) << rules.error().message;
    return check_rules(*rules, spec).has_value();
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "policy.json";
};

TEST_F(PolicyTest, NoFileAllowsEverything) {
  const Policy policy(file_);
  EXPECT_TRUE(policy.check(command(R"({"cmd":"rm -rf /tmp/x"})")));
  EXPECT_EQ("none", policy.describe());
  EXPECT_TRUE(Policy("").check(command(R"({"cmd":"true"})")));
}

TEST_F(PolicyTest, TypesAreAList) {
  TaskSpec echo;
  echo.type = "echo";
  EXPECT_TRUE(allows(R"({"types":["echo"]})", echo));
  EXPECT_FALSE(allows(R"({"types":["echo"]})", command(R"({"cmd":"true"})")));
  EXPECT_FALSE(allows(R"({"types":[]})", echo));
  EXPECT_TRUE(allows("{}", echo));
}

TEST_F(PolicyTest, ServicesAreAList) {
  TaskSpec call;
  call.type = "service";
  call.data = R"({"service":"solana","method":"getBalance"})";
  EXPECT_TRUE(allows("{}", call));
  EXPECT_TRUE(allows(R"({"services":["solana"]})", call));
  EXPECT_FALSE(allows(R"({"services":["Solana","sol"]})", call));
  EXPECT_FALSE(allows(R"({"services":[]})", call));
  EXPECT_FALSE(allows(R"({"types":["echo"],"services":["solana"]})", call));
  call.data = "{}";
  EXPECT_FALSE(allows(R"({"services":["solana"]})", call)) << "what can't be read never passes";
  EXPECT_FALSE(parse_policy(R"({"services":"solana"})"));
}

TEST_F(PolicyTest, ArgvIsComparedExactly) {
  const std::string policy = R"({"command":{"argv":[["/bin/ls","-l"],["/usr/bin/uptime"]]}})";
  EXPECT_TRUE(allows(policy, command(R"({"argv":["/bin/ls","-l"]})")));
  EXPECT_TRUE(allows(policy, command(R"({"argv":["/usr/bin/uptime"]})")));
  EXPECT_FALSE(allows(policy, command(R"({"argv":["/bin/ls"]})")));
  EXPECT_FALSE(allows(policy, command(R"({"argv":["/bin/ls","-l","/"]})")));
  EXPECT_FALSE(allows(policy, command(R"({"argv":["/bin/ls","-l "]})")));
  EXPECT_FALSE(allows(policy, command(R"({"cmd":"/bin/ls -l"})"))) << "a shell line is no argv";
  EXPECT_FALSE(allows(policy, command(R"({"argv":["/bin/ls","-l"],"env":{"PATH":"/tmp"}})")));
  EXPECT_TRUE(allows(R"({"command":{"argv":[["/bin/ls"]],"env":true}})",
                     command(R"({"argv":["/bin/ls"],"env":{"A":"b"}})")));
}

TEST_F(PolicyTest, ACommandMayOutliveTheAgentWhereNothingIsListed) {
  TaskSpec spec = command(R"({"argv":["/bin/ls"]})");
  spec.options.outlives_agent = true;
  EXPECT_TRUE(allows("{}", spec));
  EXPECT_TRUE(allows(R"({"command":{"shell":false}})", spec));
  EXPECT_FALSE(allows(R"({"command":{"outlivesAgent":false}})", spec));
  EXPECT_FALSE(allows(R"({"command":{"argv":[["/bin/ls"]]}})", spec));
  EXPECT_TRUE(allows(R"({"command":{"argv":[["/bin/ls"]],"outlivesAgent":true}})", spec));
  EXPECT_TRUE(allows(R"({"command":{"argv":[["/bin/ls"]]}})", command(spec.data)));
  EXPECT_FALSE(parse_policy(R"({"command":{"outlivesAgent":"yes"}})"));
}

TEST_F(PolicyTest, ShellLinesAreAllowedOrNot) {
  EXPECT_FALSE(allows(R"({"command":{"shell":false}})", command(R"({"cmd":"true"})")));
  EXPECT_TRUE(allows(R"({"command":{"shell":false}})", command(R"({"argv":["true"]})")));
  EXPECT_TRUE(allows(R"({"command":{"shell":true,"argv":[]}})", command(R"({"cmd":"true"})")));
  EXPECT_FALSE(allows(R"({"command":{"shell":true,"argv":[]}})", command(R"({"argv":["true"]})")));
}

TEST_F(PolicyTest, RunAsIsAList) {
  const std::string policy = R"({"command":{"runAs":["nobody"]}})";
  EXPECT_TRUE(allows(policy, command(R"({"cmd":"id","runAs":"nobody"})")));
  EXPECT_TRUE(allows(policy, command(R"({"cmd":"id"})")));
  EXPECT_FALSE(allows(policy, command(R"({"cmd":"id","runAs":"root"})")));
}

TEST_F(PolicyTest, MistakesAreErrors) {
  for (const char* text :
       {"", "[]", R"({"type":["echo"]})", R"({"types":"echo"})", R"({"command":{"argv":["ls"]}})",
        R"({"command":{"argv":[[]]}})", R"({"command":{"shell":1}})", R"({"command":{"run_as":[]}})"}) {
    EXPECT_FALSE(parse_policy(text)) << text;
  }
}

TEST_F(PolicyTest, AMistakeNamesItsFieldOnce) {
  write(R"({"command":{"typo":true}})");
  const std::string said = Policy(file_).describe();
  EXPECT_NE(said.find("command.typo is not a field"), std::string::npos) << said;
  EXPECT_EQ(said.find("command.typo"), said.rfind("command.typo")) << said;
}

TEST_F(PolicyTest, ARefusalNamesFileAndRule) {
  write(R"({"command":{"shell":false}})");
  const Policy policy(file_);
  const auto refused = policy.check(command(R"({"cmd":"true"})"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(ErrorCode::denied, refused.error().code);
  EXPECT_NE(std::string::npos, refused.error().message.find(file_.string()));
  EXPECT_NE(std::string::npos, refused.error().message.find("command.shell"));
  EXPECT_EQ("in force", policy.describe());
}

TEST_F(PolicyTest, ABrokenFileLetsNothingRun) {
  write(R"({"types":)");
  Policy policy(file_);
  TaskSpec echo;
  echo.type = "echo";
  const auto refused = policy.check(echo);
  ASSERT_FALSE(refused);
  EXPECT_EQ(ErrorCode::unavailable, refused.error().code);
  EXPECT_FALSE(policy.reload());
  write("{}");
  EXPECT_TRUE(policy.reload());
  EXPECT_TRUE(policy.check(echo));
}

TEST_F(PolicyTest, AFileThatOthersMayChangeRefusesEverything) {
  write("{}");
  std::filesystem::permissions(file_, std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  Policy policy(file_);
  TaskSpec echo;
  echo.type = "echo";
  ASSERT_FALSE(policy.check(echo));
  EXPECT_NE("in force", policy.describe());
}

TEST_F(PolicyTest, ARemovedFileIsNoPolicyAfterAReload) {
  write(R"({"types":[]})");
  Policy policy(file_);
  TaskSpec echo;
  echo.type = "echo";
  EXPECT_FALSE(policy.check(echo));
  std::filesystem::remove(file_);
  EXPECT_FALSE(policy.check(echo)) << "not before somebody asks for it";
  EXPECT_TRUE(policy.reload());
  EXPECT_TRUE(policy.check(echo));
}

}  // namespace
}  // namespace agenttask::agent
