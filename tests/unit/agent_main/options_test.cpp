#include "agent/main/options.hpp"

#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "platform/net/enrollment_token.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

struct OptionsTest : testing::Test {
  test::TemporaryFolder folder;
  std::map<std::string, std::string> environment;

  Result<CommandLine> read(std::vector<std::string> arguments, bool with_folder = true) {
    if (with_folder) arguments.insert(arguments.begin(), {"--state-dir", folder.path().string()});
    return read_options(arguments, [this](const std::string& name) {
      const auto found = environment.find(name);
      return found == environment.end() ? std::nullopt : std::optional(found->second);
    });
  }
  AgentOptions good(std::vector<std::string> arguments) {
    auto line = read(std::move(arguments));
    EXPECT_TRUE(line) << line.error().message;
    return line ? line->options : AgentOptions();
  }
  std::string wrong(std::vector<std::string> arguments) {
    const auto line = read(std::move(arguments));
    return line ? "" : line.error().message;
  }
  void file(const std::string& text, const std::string& name = "agent.conf") {
    std::ofstream(folder.path() / name) << text;
  }
};

TEST_F(OptionsTest, HasSensibleDefaults) {
  const auto options = good({});
  EXPECT_EQ(options.slots, 8U);
  EXPECT_EQ(options.poll_wait, milliseconds(55'000));
  EXPECT_EQ(options.poll_interval, milliseconds(0));
  EXPECT_EQ(options.workers, (std::vector<std::string>{"echo", "command", "service"}));
  EXPECT_EQ(options.retention, std::chrono::hours(24 * 30));
  EXPECT_EQ(options.outbox_bytes, 256LL * 1024 * 1024);
  EXPECT_EQ(options.tls_minimum, net::TlsVersion::tls_1_3);
  EXPECT_TRUE(options.config.empty());
}

TEST_F(OptionsTest, FlagsCountBeforeTheEnvironmentAndThatBeforeTheFile) {
  file(
      "# comment\nslots = 2\npoll-interval = \"30s\"\nlog-level = debug\nworkers = [\"echo\"]\nno-proxy = "
      "a,b\n");
  environment = {{"AGENTTASK_SLOTS", "3"}, {"AGENTTASK_LOG_LEVEL", "warning"}};
  const auto options = good({"--slots", "4"});
  EXPECT_EQ(options.slots, 4U);
  EXPECT_EQ(options.log_level, LogLevel::warning);
  EXPECT_EQ(options.poll_interval, milliseconds(30'000));
  EXPECT_EQ(options.workers, std::vector<std::string>{"echo"});
  EXPECT_EQ(options.no_proxy, "a,b");
  EXPECT_EQ(options.config, folder.path() / "agent.conf");
}

TEST_F(OptionsTest, UnknownSettingsAreErrorsThatNameThem) {
  file("slotz = 2\n");
  EXPECT_NE(wrong({}).find("slotz"), std::string::npos);
  file("[section]\nslots = 2\n");
  EXPECT_NE(wrong({}).find("section"), std::string::npos);
  file("slots = 2\nslots = 3\n");
  EXPECT_NE(wrong({}).find("given before"), std::string::npos);
  file("name = a\nslots = 1\nname = b\n");
  EXPECT_NE(wrong({}).find("given before"), std::string::npos);
  file("");
  EXPECT_NE(wrong({"--slotz", "1"}), "");
  EXPECT_NE(wrong({"something"}), "");
}

TEST_F(OptionsTest, ValuesAreBoundedAtTheLimitAndOnePast) {
  EXPECT_EQ(good({"--slots", "1"}).slots, 1U);
  EXPECT_EQ(good({"--slots", "256"}).slots, 256U);
  EXPECT_EQ(good({"--poll-wait", "1s"}).poll_wait, milliseconds(1000));
  EXPECT_EQ(good({"--poll-wait", "55000ms"}).poll_wait, milliseconds(55'000));
  EXPECT_EQ(good({"--poll-interval", "24h"}).poll_interval, std::chrono::hours(24));
  EXPECT_EQ(good({"--outbox-budget", "1"}).outbox_bytes, 1024 * 1024);
  EXPECT_EQ(good({"--outbox-budget", "1024GiB"}).outbox_bytes, 1LL << 40);
  EXPECT_TRUE(good({"--workers", ""}).workers.empty());
  EXPECT_EQ(good({"--shutdown-drain", "1h"}).shutdown_drain, std::chrono::hours(1));
  EXPECT_EQ(good({}).shutdown_drain, std::chrono::seconds(30));
  const std::vector<std::pair<const char*, const char*>> refused = {{"--slots", "0"},
                                                                    {"--slots", "257"},
                                                                    {"--slots", "-1"},
                                                                    {"--slots", "8x"},
                                                                    {"--slots", ""},
                                                                    {"--slots", "99999999999999999999"},
                                                                    {"--poll-wait", "999ms"},
                                                                    {"--poll-wait", "56s"},
                                                                    {"--poll-wait", "55"},
                                                                    {"--poll-wait", "0"},
                                                                    {"--poll-wait", "s"},
                                                                    {"--poll-wait", "9223372036854775807d"},
                                                                    {"--poll-interval", "25h"},
                                                                    {"--poll-interval", "1 s"},
                                                                    {"--shutdown-drain", "3601s"},
                                                                    {"--retention", "59m"},
                                                                    {"--outbox-budget", "0"},
                                                                    {"--outbox-budget", "1023KiB"},
                                                                    {"--outbox-budget", "1048577"},
                                                                    {"--tls-minimum", "1.1"},
                                                                    {"--workers", "echo,shell"},
                                                                    {"--log-level", "loud"},
                                                                    {"--log-format", "xml"},
                                                                    {"--proxy", "proxy:1"}};
  for (const auto& [name, value] : refused) {
    const std::string message = wrong({name, value});
    EXPECT_NE(message.find(name), std::string::npos) << name << "=" << value << ": " << message;
  }
  environment = {{"AGENTTASK_SLOTS", "0"}};
  EXPECT_NE(wrong({}).find("AGENTTASK_SLOTS"), std::string::npos);
}

TEST_F(OptionsTest, AnEnrolmentThatCantBeIsNoReasonNotToRun) {
  const std::string token = net::encode({std::string(24, 's'), std::string(32, 'f')});
  file("server = https://tasks.example\nenrollment-token = " + token + "\nslots = 3\n");
  environment = {{"AGENTTASK_ENROLLMENT_TOKEN", token.substr(1)}};
  auto options = good({});
  EXPECT_EQ(options.slots, 3U);
  EXPECT_EQ(options.server, "https://tasks.example:8443");
  EXPECT_EQ(options.enrollment_token, "");
  ASSERT_TRUE(options.enrollment_problem);
  EXPECT_NE(options.enrollment_problem->message.find("environment AGENTTASK_ENROLLMENT_TOKEN: not an"),
            std::string::npos)
      << options.enrollment_problem->message;
  EXPECT_EQ(options.enrollment_problem->message.find(token.substr(1)), std::string::npos);
  options = good({"--server", "http://x", "--enrollment-token", token, "--name", std::string(254, 'n')});
  EXPECT_EQ(options.server, "");
  for (const char* part : {"--server: ", "--name: "})
    EXPECT_NE(options.enrollment_problem->message.find(part), std::string::npos) << part;
  EXPECT_TRUE(read({"ledger", "check"}));
  EXPECT_TRUE(read({"prepare-image"}));
  for (const char* verb : {"check-config", "prepare-enrollment"})
    EXPECT_NE(wrong({verb}).find("AGENTTASK_ENROLLMENT_TOKEN"), std::string::npos) << verb;
  environment = {};
  EXPECT_FALSE(good({}).enrollment_problem);
  EXPECT_EQ(good({}).enrollment_token, token);
}

TEST_F(OptionsTest, AFileThatWasNamedMustBeThere) {
  EXPECT_NE(wrong({"--config", (folder.path() / "missing.conf").string()}), "");
  file("slots = 5\n", "other.conf");
  EXPECT_EQ(good({"--config", (folder.path() / "other.conf").string()}).slots, 5U);
  environment = {{"AGENTTASK_CONFIG", (folder.path() / "other.conf").string()}};
  EXPECT_EQ(good({}).slots, 5U);
}

TEST_F(OptionsTest, TheFolderMayComeFromTheEnvironment) {
  file("slots = 6\n");
  environment = {{"AGENTTASK_STATE_DIR", folder.path().string()}};
  const auto line = read({}, false);
  ASSERT_TRUE(line);
  EXPECT_EQ(line->options.slots, 6U);
  EXPECT_EQ(line->options.state_dir, folder.path());
}

TEST_F(OptionsTest, SecretsAreNotShown) {
  const std::string token = net::encode({std::string(24, 's'), std::string(32, 'f')});
  environment = {{"AGENTTASK_ENROLLMENT_TOKEN", token}, {"AGENTTASK_PROXY", "http://u:secret@proxy:1"}};
  const auto options = good({});
  EXPECT_EQ(options.enrollment_token, token);
  const std::string shown = describe(options);
  EXPECT_EQ(shown.find(token), std::string::npos);
  EXPECT_EQ(shown.find("secret"), std::string::npos);
  EXPECT_NE(shown.find("slots = 8"), std::string::npos);
}

TEST_F(OptionsTest, VerbsAndHelp) {
  EXPECT_EQ(read({})->verb, AgentVerb::run);
  EXPECT_EQ(read({"run"})->verb, AgentVerb::run);
  EXPECT_EQ(read({"check-config", "--slots", "3"})->options.slots, 3U);
  EXPECT_EQ(read({"check-config"})->verb, AgentVerb::check_config);
  const auto help = read({"--help"});
  ASSERT_TRUE(help);
  EXPECT_EQ(help->verb, AgentVerb::help);
  for (const char* part :
       {"--poll-interval", "AGENTTASK_POLL_INTERVAL", "check-config", "Examples:", "SIGHUP"}) {
    EXPECT_NE(help->text.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(read({"--version"})->verb, AgentVerb::version);
}

TEST_F(OptionsTest, SaysWhatCountsOnlyAfterARestart) {
  const auto before = good({});
  EXPECT_TRUE(
      need_restart(before, good({"--slots", "2", "--log-level", "debug", "--poll-wait", "5s"})).empty());
  EXPECT_EQ(need_restart(before, good({"--name", "x", "--workers", "echo"})),
            (std::vector<std::string>{"name", "workers"}));
}

}  // namespace
}  // namespace agenttask::agent
