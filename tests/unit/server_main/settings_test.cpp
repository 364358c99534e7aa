#include "server/main/settings.hpp"

#include <fstream>

#include <gmock/gmock.h>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() {
    sources.file = folder.path() / "server.conf";
    sources.environment = [this](const std::string& variable) -> std::optional<std::string> {
      const auto found = environment.find(variable);
      if (found == environment.end()) return std::nullopt;
      return found->second;
    };
  }
  void write(std::string_view text) const { std::ofstream(sources.file) << text; }
  std::string problem() const {
    const auto settings = read_settings(sources);
    return settings ? "none" : settings.error().message;
  }
  test::TemporaryFolder folder;
  std::map<std::string, std::string> environment;
  SettingSources sources;
};

TEST_F(SettingsTest, DefaultsHoldWithoutAFile) {
  const auto settings = read_settings(sources);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->listen_address, "0.0.0.0");
  EXPECT_EQ(settings->port, 8443);
  EXPECT_FALSE(settings->allow_tls12);
  EXPECT_EQ(settings->http.connections, 10'000U);
  EXPECT_EQ(settings->retention, 30LL * 24 * 3600 * 1000);
  EXPECT_EQ(settings->message_retention, 30LL * 24 * 3600 * 1000);
  EXPECT_EQ(settings->keep_runs, 200);
  EXPECT_EQ(settings->keep_messages, 10'000);
}

TEST_F(SettingsTest, EachSourceOverridesTheOneBefore) {
  write("port = 1\nlog-level = debug # says more\n\n# nothing\nhost = a, b\nidle-timeout=5s\n");
  environment["AGENTTASK_SERVER_PORT"] = "2";
  environment["AGENTTASK_SERVER_IDLE_TIMEOUT"] = "6s";
  sources.flags["port"] = "3";
  const auto settings = read_settings(sources);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->port, 3);
  EXPECT_EQ(settings->http.idle_timeout, 6s);
  EXPECT_EQ(settings->log_level, LogLevel::debug);
  EXPECT_THAT(settings->hosts, ElementsAre("a", "b"));
}

TEST_F(SettingsTest, AListenWithAPortOverridesAnEarlierPort) {
  write("port = 1\n");
  sources.flags["listen"] = "127.0.0.1:7";
  EXPECT_EQ(read_settings(sources)->port, 7);
  sources.flags["port"] = "8";
  EXPECT_EQ(read_settings(sources)->port, 8);
}

TEST_F(SettingsTest, ErrorsNameTheirSource) {
  write("\n\nbogus = 1\n");
  EXPECT_THAT(problem(), HasSubstr("server.conf line 3: there is no setting \"bogus\""));
  write("port = 1\nport = 2\n");
  EXPECT_THAT(problem(), HasSubstr("line 2: port was given before"));
  write("port 1\n");
  EXPECT_THAT(problem(), HasSubstr("line 1: expected a line as"));
  write("port = 70000\n");
  EXPECT_THAT(problem(), HasSubstr("line 1: port: expected a whole number from 0 to 65535"));
  write("");
  environment["AGENTTASK_SERVER_TLS"] = "1.1";
  EXPECT_THAT(problem(), HasSubstr("environment AGENTTASK_SERVER_TLS: expected 1.3 or 1.2"));
  environment.clear();
  sources.flags["retention"] = "5";
  EXPECT_THAT(problem(), HasSubstr("--retention: expected a duration"));
}

TEST_F(SettingsTest, ValuesMayBeQuoted) {
  write(
      "certificate = \"/x y\"\nprivate-key = '/k'\ncertificate-authority = /a\nhost = [\"a\", \"::1\"]\n"
      "listen = [::1]:7\n");
  const auto settings = read_settings(sources);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->certificate, "/x y");
  EXPECT_EQ(settings->private_key, "/k");
  EXPECT_THAT(settings->hosts, ElementsAre("a", "::1"));
  EXPECT_EQ(settings->listen_address, "::1");
  EXPECT_EQ(settings->port, 7);
}

TEST_F(SettingsTest, ANamedFileMustExist) {
  sources.file_must_exist = true;
  EXPECT_NE(problem(), "none");
}

TEST_F(SettingsTest, ACertificateNeedsItsKeyAndAuthority) {
  write("certificate = /x\n");
  EXPECT_THAT(problem(), HasSubstr("belong together"));
}

TEST_F(SettingsTest, EveryBoundIsHeld) {
  for (const auto& [name, good, bad] :
       std::initializer_list<std::tuple<const char*, const char*, const char*>>{
           {"max-connections", "1", "0"},
           {"max-connections", "1000000", "1000001"},
           {"port", "65535", "65536"},
           {"network-threads", "64", "65"},
           {"readers", "1", "0"},
           {"readers", "64", "65"},
           {"handshake-timeout", "100ms", "99ms"},
           {"header-timeout", "1h", "3601s"},
           {"idle-timeout", "1d", "25h"},
           {"server-certificate-life", "1h", "59m"},
           {"device-certificate-life", "60s", "59s"},
           {"retention", "0s", "36501d"},
           {"keep-runs", "1", "0"},
           {"keep-runs", "1000000", "1000001"},
           {"message-retention", "36500d", "36501d"},
           {"keep-messages", "1", "0"},
           {"log-format", "json", "xml"},
           {"log-level", "error", "loud"}}) {
    sources.flags = {{name, good}};
    EXPECT_EQ(problem(), "none") << name << good;
    sources.flags = {{name, bad}};
    EXPECT_NE(problem(), "none") << name << bad;
  }
}

TEST_F(SettingsTest, WhatIsDescribedCanBeReadAgain) {
  sources.flags = {
      {"host", "a,b"}, {"port", "5"}, {"tls", "1.2"}, {"idle-timeout", "1500ms"}, {"log-format", "json"}};
  const auto first = read_settings(sources);
  ASSERT_TRUE(first);
  sources.flags.clear();
  write(describe(*first));
  const auto again = read_settings(sources);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(describe(*again), describe(*first));
}

TEST_F(SettingsTest, TheFirstConfigurationSaysTheDefaults) {
  const auto before = read_settings(sources);
  write(first_configuration({"a", "::1"}));
  const auto after = read_settings(sources);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_THAT(after->hosts, ElementsAre("a", "::1"));
  EXPECT_THAT(need_restart(*before, *after), ElementsAre("host"));
}

TEST_F(SettingsTest, OnlySomeSettingsNeedARestart) {
  const auto before = read_settings(sources);
  sources.flags = {{"log-level", "debug"}, {"max-connections", "5"}, {"tls", "1.2"}};
  EXPECT_THAT(need_restart(*before, *read_settings(sources)), IsEmpty());
  sources.flags = {{"port", "5"}, {"readers", "3"}};
  EXPECT_THAT(need_restart(*before, *read_settings(sources)), ElementsAre("port", "readers"));
}

}  // namespace
}  // namespace agenttask::server
