#include <gtest/gtest.h>

#include "platform/os/host.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {
namespace {

TEST(CleanEnvironment, HasTheMinimumAndNothingElse) {
  ::setenv("NOT_FOR_CHILDREN", "x", 1);
  const auto environment = clean_environment().value();
  ::unsetenv("NOT_FOR_CHILDREN");
  EXPECT_EQ(environment.size(), 6U);
  EXPECT_EQ(environment.at("LANG"), "C.UTF-8");
  EXPECT_EQ(environment.at("USER"), current_user_name());
  EXPECT_EQ(environment.at("LOGNAME"), current_user_name());
  EXPECT_EQ(environment.at("HOME").front(), '/');
  EXPECT_EQ(environment.at("SHELL").front(), '/');
  EXPECT_NE(environment.at("PATH").find(":/usr/bin:"), std::string::npos);
  EXPECT_TRUE(check_environment(environment));
}

TEST(CleanEnvironment, IsThatOfTheUser) {
  const auto root = clean_environment("root").value();
  EXPECT_EQ(root.at("HOME"), "/root");
  EXPECT_NE(root.at("PATH").find("/usr/sbin"), std::string::npos);
  const auto nobody = clean_environment("nobody").value();
  EXPECT_EQ(nobody.at("USER"), "nobody");
  EXPECT_EQ(nobody.at("PATH").find("sbin"), std::string::npos);
  const auto unknown = clean_environment("no-such-user");
  EXPECT_EQ(unknown.error().code, ErrorCode::not_found);
  EXPECT_EQ(unknown.error().field, "runAs");
}

TEST(CheckEnvironment, RefusesWhatChildrenMustNotGet) {
  EXPECT_TRUE(check_environment({}));
  EXPECT_TRUE(check_environment({{"A", ""}, {"LD", "x"}, {"LDX", "x"}, {"AGENTTASK", "x"}, {"a b", "=\n"}}));
  for (const auto& name :
       {std::string(""), std::string("A=B"), std::string("A\0B", 3), std::string("LD_PRELOAD"),
        std::string("LD_"), std::string("DYLD_INSERT_LIBRARIES"), std::string("AGENTTASK_RUN_ID")}) {
    const auto refused = check_environment({{name, "x"}});
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid);
    EXPECT_EQ(refused.error().field, "env." + name);
  }
  EXPECT_FALSE(check_environment({{"A", std::string("x\0y", 3)}}));
}

TEST(ShellCommand, KnowsTheShells) {
  using Argv = std::vector<std::string>;
  EXPECT_EQ(shell_command("a 'b'").value(), (Argv{"/bin/sh", "-c", "--", "a 'b'"}));
  EXPECT_EQ(shell_command("x", "sh").value(), (Argv{"/bin/sh", "-c", "--", "x"}));
  EXPECT_EQ(shell_command("x", "bash").value(), (Argv{"/bin/bash", "-c", "--", "x"}));
  for (const auto* name : {"powershell", "cmd"}) {
    EXPECT_EQ(shell_command("x", name).error().code, ErrorCode::unsupported);
  }
  EXPECT_EQ(shell_command("x", "fish").error().code, ErrorCode::invalid);
  EXPECT_EQ(shell_command("x", "fish").error().field, "shell");
  EXPECT_EQ(shell_command(std::string_view("a\0b", 3)).error().code, ErrorCode::invalid);
}

}  // namespace
}  // namespace agenttask::os
