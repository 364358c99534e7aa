#include "agent/console/checks.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

const Check* find(const std::vector<Check>& checks, std::string_view name) {
  for (const Check& check : checks) {
    if (check.name == name) return &check;
  }
  return nullptr;
}

net::HttpResult failure(net::HttpFailure kind) {
  return net::HttpError{kind, {ErrorCode::unavailable, "because"}};
}

TEST(Route, SaysWhichLinkBrokeAndNothingOfThoseBehindIt) {
  struct Case {
    net::HttpFailure failure;
    const char* broken;
    std::size_t checks;
  };
  for (const Case& one :
       {Case{net::HttpFailure::cannot_resolve, "name resolution", 1},
        Case{net::HttpFailure::cannot_connect, "connection", 2},
        Case{net::HttpFailure::timeout, "connection", 2}, Case{net::HttpFailure::tls_untrusted, "TLS", 3},
        Case{net::HttpFailure::tls_expired, "TLS", 3}, Case{net::HttpFailure::tls_name, "TLS", 3},
        Case{net::HttpFailure::broken, "server", 4}}) {
    const auto checks = judge_route("https://s:8443", failure(one.failure));
    ASSERT_EQ(checks.size(), one.checks) << one.broken;
    EXPECT_EQ(checks.back().name, one.broken);
    EXPECT_EQ(checks.back().verdict, Verdict::failed);
    EXPECT_FALSE(checks.back().remedy.empty()) << "each failure has a remedy";
    EXPECT_TRUE(any_failed(checks));
  }
}

TEST(Route, AServerThatAnswersBadlyIsAFailureToo) {
  net::HttpResponse answer;
  answer.status = 503;
  EXPECT_EQ(judge_route("https://s", net::HttpResult(answer)).back().verdict, Verdict::failed);
  answer.status = 200;
  EXPECT_FALSE(any_failed(judge_route("https://s", net::HttpResult(answer))));
}

TEST(Membership, ARefusedDeviceIsAFailureThoughAllLinksHold) {
  ::agenttask::console::Membership membership;
  membership.url = "https://s:8443";
  membership.enrolled = true;
  membership.name = "web-1";
  membership.link_state = "connected";
  EXPECT_FALSE(any_failed(check_membership(membership, 0)));
  membership.link_state = "refused";
  membership.last_error = "revoked";
  EXPECT_TRUE(any_failed(check_membership(membership, 0)));
  EXPECT_NE(find(check_membership(membership, 0), "contact")->finding.find("revoked"), std::string::npos);
}

TEST(Membership, ClaimsNothingAboutWhatItCouldNotRead) {
  ::agenttask::console::Membership membership;
  membership.known = false;
  ASSERT_EQ(check_membership(membership, 0).size(), 1U);
  EXPECT_EQ(check_membership(membership, 0).front().verdict, Verdict::skipped);
}

TEST(Membership, CertificateAndClockHaveTheirBounds) {
  ::agenttask::console::Membership membership;
  membership.url = "https://s:8443";
  membership.enrolled = true;
  membership.certificate_expires = 1000;
  EXPECT_EQ(find(check_membership(membership, 999), "certificate")->verdict, Verdict::good);
  EXPECT_EQ(find(check_membership(membership, 1000), "certificate")->verdict, Verdict::failed);
  membership.clock_offset = -30'000;
  EXPECT_EQ(find(check_membership(membership, 0), "clock")->verdict, Verdict::good);
  membership.clock_offset = -30'001;
  EXPECT_EQ(find(check_membership(membership, 0), "clock")->verdict, Verdict::warning);
}

TEST(AgentChecks, ABrokenPolicyOrLedgerFails) {
  EXPECT_FALSE(any_failed(check_agent(json::parse(R"({"policy":"none"})"))));
  EXPECT_FALSE(any_failed(check_agent(json::parse(R"({"policy":"in force","policyFile":"/p"})"))));
  EXPECT_TRUE(any_failed(check_agent(json::parse(R"({"policy":"it is no JSON"})"))));
  EXPECT_TRUE(any_failed(check_agent(json::parse(R"({"policy":"none","ledgerProblem":"disk full"})"))));
  EXPECT_EQ(find(check_agent(json::parse(R"({"hold":true})")), "hold")->verdict, Verdict::note);
}

TEST(AgentChecks, SayHowRunsAreHeld) {
  const auto held = check_agent(json::parse(R"({"containment":{"by":"control-groups","folder":"/g"}})"));
  EXPECT_EQ(find(held, "containment")->verdict, Verdict::good);
  EXPECT_NE(find(held, "containment")->finding.find("/g"), std::string::npos);
  const auto marked = check_agent(json::parse(R"({"containment":{"by":"marks","why":"it is read-only"}})"));
  EXPECT_EQ(find(marked, "containment")->verdict, Verdict::note);
  EXPECT_NE(find(marked, "containment")->finding.find("it is read-only"), std::string::npos);
}

TEST(FileChecks, TellADatabaseFromSomethingElse) {
  const test::TemporaryFolder folder;
  const os::Folders folders = os::folders_inside(folder.path());
  EXPECT_EQ(find(check_files(folders), "ledger file")->verdict, Verdict::failed) << "none yet";
  std::ofstream(folder.path() / "ledger.db") << "hello";
  EXPECT_EQ(find(check_files(folders), "ledger file")->verdict, Verdict::failed);
  std::ofstream(folder.path() / "ledger.db") << std::string("SQLite format 3\0rest", 20);
  EXPECT_EQ(find(check_files(folders), "ledger file")->verdict, Verdict::good);
  EXPECT_EQ(find(check_files(folders), "state folder")->verdict, Verdict::good);
}

TEST(Checks, RenderPlainLinesAndNeutraliseThem) {
  const std::vector<Check> checks{{"a", Verdict::good, "fine"},
                                  {"bb", Verdict::failed, "\x1b[2J", "repair it"}};
  EXPECT_EQ(render_checks(checks, Screen(false, false, 0, false)),
            "ok       a   fine\n"
            "FAILED   bb  \\x1b[2J\n"
            "             -> repair it\n");
  const json encoded = json::parse(encode_checks(checks));
  EXPECT_EQ(encoded["healthy"], false);
  EXPECT_EQ(encoded["checks"][1]["verdict"], "failed");
  EXPECT_EQ(encoded["checks"][1]["remedy"], "repair it");
}

}  // namespace
}  // namespace agenttask::console
