#include "agent/main/care.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "agent/sync/identity.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/os/paths.hpp"
#include "platform/os/secure_file.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

class CareTest : public testing::Test {
 protected:
  CareAnswer run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--state-dir", state.string()});
    const auto line = read_options(arguments, [](const std::string&) { return std::nullopt; });
    EXPECT_TRUE(line) << line.error().message;
    return line ? take_care(*line, clock) : CareAnswer{-1, {}};
  }
  void put(const std::string& name, const std::string& text = "x") {
    fs::create_directories((folder.path() / name).parent_path());
    std::ofstream(folder.path() / name) << text;
  }
  bool is_there(const std::string& name) { return fs::exists(folder.path() / name); }

  test::TemporaryFolder folder;
  fs::path state = folder.path();
  test::ManualClock clock;
};

TEST_F(CareTest, WithoutALedgerThereIsNothingToCareFor) {
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"ledger", "check"}, {"ledger", "salvage"}, {"ledger", "reset", "--yes"}}) {
    const auto answer = run(verb);
    EXPECT_EQ(1, answer.code) << verb[1];
    EXPECT_NE(std::string::npos, answer.text.find("there is no ledger")) << answer.text;
  }
  EXPECT_NE(std::string::npos,
            run({"ledger", "check", "--json"}).text.find(R"({"error":{"code":"not-found")"));
}

TEST_F(CareTest, WhatPutsThingsAwayHasToBeMeant) {
  put("ledger.db", "whatever");
  put("identity.json");
  EXPECT_EQ(2, run({"ledger", "reset"}).code);
  EXPECT_EQ(2, run({"prepare-image"}).code);
  EXPECT_TRUE(is_there("ledger.db"));
  EXPECT_TRUE(is_there("identity.json"));
  EXPECT_EQ(0, run({"ledger", "reset", "--yes"}).code);
  EXPECT_FALSE(is_there("ledger.db"));
}

TEST_F(CareTest, AnImageKeepsWhatIsNotOfThisMachine) {
  for (const char* name :
       {"ledger.db", "ledger.db-wal", "ledger.db.damaged-1", "identity.json", "enrollment.json",
        "spool/x.stdout", "reserve", "run/agent.sock", "policy.json", "workers/w/worker.json",
        ".identity.json.0123456789ab.new", ".enrollment.json.0123456789ab.new", ".policy.json.new"})
    put(name);
  put("agent.conf", "server = https://tasks.example:8443\n");
  const auto answer = run({"prepare-image", "--yes"});
  EXPECT_EQ(0, answer.code) << answer.text;
  for (const char* gone :
       {"ledger.db", "ledger.db-wal", "ledger.db.damaged-1", "identity.json", "enrollment.json", "spool",
        "reserve", ".identity.json.0123456789ab.new", ".enrollment.json.0123456789ab.new"})
    EXPECT_FALSE(is_there(gone)) << gone;
  const bool is_file = os::folders_inside(state).console_address().ends_with("agent.sock");
  EXPECT_EQ(!is_file, is_there("run/agent.sock")) << "a pipe is no file";
  for (const char* kept : {"agent.conf", "policy.json", "workers/w/worker.json", ".policy.json.new"})
    EXPECT_TRUE(is_there(kept)) << kept;
  EXPECT_NE(std::string::npos, answer.text.find("has to be enrolled"))
      << "a server without a token enrols nobody";
}

TEST_F(CareTest, AnImageWhoseTokenIsNoneIsSaidToEnrolNobody) {
  put("agent.conf", "server = https://tasks.example:8443\nenrollment-token = abc\n");
  const auto answer = run({"prepare-image", "--yes"});
  EXPECT_EQ(0, answer.code) << answer.text;
  EXPECT_NE(std::string::npos, answer.text.find("not an enrolment token")) << answer.text;
}

TEST_F(CareTest, WhereTheAgentNeverRanThereIsNothingToForget) {
  state = folder.path() / "never";
  EXPECT_EQ(2, run({"prepare-image"}).code) << "it has to be meant all the same";
  const auto answer = run({"prepare-image", "--yes"});
  EXPECT_EQ(0, answer.code) << answer.text;
  EXPECT_NE(std::string::npos, answer.text.find("there was nothing of this machine's own")) << answer.text;
  EXPECT_NE(std::string::npos, run({"prepare-image", "--yes", "--json"}).text.find(R"("removed":[])"));
  EXPECT_FALSE(fs::exists(state)) << "nor is anything made";
}

TEST_F(CareTest, AStateFolderThatIsNoneIsSaid) {
  put("file");
  state = folder.path() / "file";
  EXPECT_EQ(1, run({"prepare-image", "--yes"}).code);
}

TEST_F(CareTest, ARunningAgentIsLeftAlone) {
  put("identity.json");
  const auto lock = os::FileLock::acquire(folder.path() / "agenttaskd.lock");
  ASSERT_TRUE(lock);
  const auto answer = run({"prepare-image", "--yes"});
  EXPECT_EQ(3, answer.code) << answer.text;
  EXPECT_TRUE(is_there("identity.json"));
}

TEST_F(CareTest, AnEnrolmentIsKeptForTheNextStart) {
  const std::string token = net::encode(net::make_enrollment_token(std::string(32, '\x01')));
  const std::vector<std::string> words{"prepare-enrollment",
                                       "--server",
                                       "https://tasks.example:8443",
                                       "--enrollment-token",
                                       token,
                                       "--name",
                                       "desk-1"};
  EXPECT_EQ(0, run(words).code);
  const IdentityFolder identities(folder.path());
  const auto first = identities.pending().value();
  ASSERT_TRUE(first);
  EXPECT_EQ("https://tasks.example:8443", first->server_url);
  EXPECT_EQ("desk-1", first->name);
  EXPECT_EQ(token, first->token);
  // Said again it is the same request, with the same key.
  const auto again = run(words);
  EXPECT_EQ(0, again.code);
  EXPECT_EQ(std::string::npos, again.text.find(token));
  EXPECT_EQ(first->key_pem, identities.pending().value()->key_pem);
}

TEST_F(CareTest, AnEnrolmentIsKeptWithoutTheNameThatTheHostHasNow) {
  const std::string token = net::encode(net::make_enrollment_token(std::string(32, '\x01')));
  const auto answer =
      run({"prepare-enrollment", "--server", "https://tasks.example:8443", "--enrollment-token", token});
  EXPECT_EQ(0, answer.code) << answer.text;
  EXPECT_NE(std::string::npos, answer.text.find("the name that the host has then")) << answer.text;
  EXPECT_EQ("", IdentityFolder(folder.path()).pending().value()->name);
}

TEST_F(CareTest, AnEnrolmentNeedsServerAndToken) {
  EXPECT_EQ(2, run({"prepare-enrollment"}).code);
  EXPECT_EQ(2, run({"prepare-enrollment", "--server", "https://tasks.example:8443"}).code);
  EXPECT_FALSE(is_there("enrollment.json"));
}

TEST_F(CareTest, ADeviceThatCantTellWhetherItIsEnrolledKeepsNoWish) {
  put("identity.json", "damaged");
  const std::string token = net::encode(net::make_enrollment_token(std::string(32, '\x01')));
  EXPECT_EQ(1,
            run({"prepare-enrollment", "--server", "https://tasks.example:8443", "--enrollment-token", token})
                .code);
  EXPECT_FALSE(is_there("enrollment.json"));
}

}  // namespace
}  // namespace agenttask::agent
