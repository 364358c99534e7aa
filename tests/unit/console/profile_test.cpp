#include "agent/console/fleet/profile.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::console {
namespace {

namespace fs = std::filesystem;

class ProfileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"AGENTTASK_SERVER", "AGENTTASK_TOKEN", "AGENTTASK_CA", "XDG_CONFIG_HOME"})
      unsetenv(name);
    setenv("HOME", folder_.path().c_str(), 1);
  }
  test::TemporaryFolder folder_;
};

TEST_F(ProfileTest, KeepsProfilesWhereOnlyTheirOwnerReads) {
  const auto file = ProfileFile::of_this_user();
  ASSERT_TRUE(file);
  EXPECT_EQ(file->path(), folder_.path() / ".config/agenttask/fleet.json");
  EXPECT_EQ(file->load("default").error().code, ErrorCode::not_found);
  ASSERT_TRUE(file->keep("default", {"https://a:8443", "agt_a", "pem"}));
  ASSERT_TRUE(file->keep("work", {"https://b:8443", "agt_b", ""}));
  EXPECT_EQ(fs::status(file->path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(file->load("default")->token, "agt_a");
  EXPECT_EQ(file->load("work")->server, "https://b:8443");
  EXPECT_NE(file->load("other").error().message.find("--profile other"), std::string::npos);
}

TEST_F(ProfileTest, RefusesAFileThatOthersMayRead) {
  const auto file = ProfileFile::of_this_user();
  ASSERT_TRUE(file->keep("default", {"https://a:8443", "agt_a", "pem"}));
  fs::permissions(file->path(), fs::perms::group_read, fs::perm_options::add);
  const auto loaded = file->load("default");
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("chmod 600"), std::string::npos) << loaded.error().message;
}

TEST_F(ProfileTest, NeverOverwritesAFileThatIsDamaged) {
  const auto file = ProfileFile::of_this_user();
  fs::create_directories(file->path().parent_path());
  std::ofstream(file->path()) << "{ not json";
  fs::permissions(file->path(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(file->load("default").error().code, ErrorCode::corrupt);
  EXPECT_FALSE(file->keep("default", {"https://a:8443", "agt_a", "pem"}));
}

TEST_F(ProfileTest, TheEnvironmentTakesThePlaceOfALogin) {
  setenv("AGENTTASK_SERVER", "tasks.example", 1);
  EXPECT_NE(find_profile("default").error().message.find("AGENTTASK_TOKEN"), std::string::npos);
  setenv("AGENTTASK_TOKEN", "agt_x", 1);
  EXPECT_NE(find_profile("default").error().message.find("AGENTTASK_CA"), std::string::npos)
      << "nobody is trusted by default";
  setenv("AGENTTASK_CA", "/nonexistent.pem", 1);
  EXPECT_FALSE(find_profile("default"));
  setenv("AGENTTASK_CA", "system", 1);
  const auto profile = find_profile("default");
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->server, "https://tasks.example:8443");
  EXPECT_TRUE(client_settings(*profile).system_authorities);
  EXPECT_FALSE(client_settings({"https://a", "t", "pem"}).system_authorities);
}

TEST_F(ProfileTest, NamesArePlain) {
  EXPECT_TRUE(check_profile_name("work-2.b_c"));
  for (const char* name : {"", "a b", "a/b", "\x1b"}) EXPECT_FALSE(check_profile_name(name)) << name;
}

}  // namespace
}  // namespace agenttask::console
