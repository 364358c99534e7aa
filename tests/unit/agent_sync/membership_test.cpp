#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "platform/os/secure_file.hpp"
#include "tests/unit/agent_sync/sync_fixture.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

class MembershipTest : public SyncFixture {
 protected:
  std::string token = net::encode({std::string(24, 's'), authority.certificate().fingerprint_bytes()});
  IdentityFolder files{folder.path()};

  static std::string request_of(const FakeLink::Open& call) {
    return json::parse(call.body).at("request").get<std::string>();
  }

  /// What a server answers to the request under way.
  std::string grant(ServerCall call, const std::string& node = "node-7",
                    DurationMilliseconds life = 10 * kDay) {
    const auto request = net::CertificateRequest::from_pem(request_of(link.get(call))).value();
    const auto certificate =
        net::issue(authority.certificate(), authority.key(), request,
                   {node, {}, net::CertificatePurpose::client, clock.wall(), clock.wall() + life})
            .value();
    return json{{"nodeId", node},
                {"name", "seven"},
                {"certificate", certificate.to_pem()},
                {"authority", authority.pem()}}
        .dump();
  }
  void be_enrolled() {
    ASSERT_TRUE(sync->enroll(kUrl, token, ""));
    step();
    link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll));
    step();
  }
};

TEST_F(MembershipTest, EnrolsWithATokenAndThenPolls) {
  ASSERT_TRUE(sync->enroll("Tasks.Example", token, "my-laptop"));
  EXPECT_TRUE(files.pending()->has_value());
  step();
  EXPECT_EQ(sync->status().state, LinkState::enrolling);
  EXPECT_EQ(link.asked_url, kUrl);
  EXPECT_EQ(link.asked_fingerprint, authority.certificate().fingerprint_bytes());
  const auto& call = link.get(ServerCall::enroll);
  EXPECT_EQ(call.peer.authority_pem, authority.pem());
  EXPECT_TRUE(call.peer.key_pem.empty());
  const json body = json::parse(call.body);
  EXPECT_EQ(body["token"], token);
  EXPECT_EQ(body["name"], "my-laptop");
  EXPECT_EQ(body["version"], "1.2.3");
  EXPECT_EQ(body["platform"], "linux-test");
  EXPECT_EQ(call.body.find("PRIVATE KEY"), std::string::npos);
  link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll));
  step();
  const auto identity = files.identity().value();
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->node_id, "node-7");
  EXPECT_FALSE(files.pending()->has_value());  // and with it the token is gone
  EXPECT_EQ(link.get(ServerCall::poll).peer.certificate_pem, identity->certificate_pem);
  EXPECT_EQ(ledger->status()->node_id, "node-7");
}

TEST_F(MembershipTest, EnrolsUnderTheNameThatTheHostHasWhenTheServerIsAsked) {
  host_name = "image";
  link.authority_failure =
      net::HttpError{net::HttpFailure::cannot_connect, {ErrorCode::unavailable, "refused", {}}};
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  const auto wait = step();
  EXPECT_EQ(sync->status().name, "image") << "what it would be called now";
  host_name = "clone-7";
  start();
  link.authority_failure.reset();
  pass(wait);
  EXPECT_EQ(sync->status().name, "clone-7");
  EXPECT_EQ(sync->status().state, LinkState::enrolling);
  EXPECT_EQ(json::parse(link.get(ServerCall::enroll).body)["name"], "clone-7");
  const auto request = net::CertificateRequest::from_pem(request_of(link.get(ServerCall::enroll)));
  EXPECT_EQ(request->common_name(), "clone-7");
  // Not so where somebody said how it is called.
  ASSERT_TRUE(sync->enroll(kUrl, token, "desk-1"));
  host_name = "another";
  step();
  EXPECT_EQ(json::parse(link.get(ServerCall::enroll).body)["name"], "desk-1");
}

TEST_F(MembershipTest, FilesAreForTheServiceOnly) {
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  EXPECT_TRUE(os::check_private(folder.path() / "enrollment.json"));
  step();
  link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll));
  EXPECT_TRUE(os::check_private(folder.path() / "identity.json"));
}

TEST_F(MembershipTest, WrongInputIsRefusedAtOnce) {
  EXPECT_EQ(sync->enroll("http://x", token, "").error().field, "url");
  EXPECT_EQ(sync->enroll(kUrl, token.substr(1), "").error().field, "token");
  EXPECT_EQ(sync->enroll(kUrl, token, std::string(254, 'n')).error().field, "name");
  EXPECT_TRUE(sync->enroll(kUrl, token, std::string(253, 'n')));
}

TEST_F(MembershipTest, IsTriedForEverWithTheSameKeyWhileTheServerIsAway) {
  link.authority_failure =
      net::HttpError{net::HttpFailure::cannot_connect, {ErrorCode::unavailable, "refused", {}}};
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  const auto wait = step();
  EXPECT_LE(wait, milliseconds(5000));
  EXPECT_EQ(sync->status().last_error_code, "cannot-connect");
  link.authority_failure.reset();
  pass(wait);
  const std::string first = request_of(link.get(ServerCall::enroll));
  link.lose(ServerCall::enroll);  // the server may have used the token up
  pass(step());
  const auto key_of = [](const std::string& pem) {
    return net::CertificateRequest::from_pem(pem)->public_key_digest();
  };
  EXPECT_EQ(key_of(request_of(link.get(ServerCall::enroll))), key_of(first));
  start();  // a kill changes nothing
  step();
  EXPECT_EQ(key_of(request_of(link.get(ServerCall::enroll))), key_of(first));
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));  // nor does a person who asks again
  step();
  EXPECT_EQ(key_of(request_of(link.get(ServerCall::enroll))), key_of(first));
}

TEST_F(MembershipTest, EnrollingAgainWithTheUsedTokenChangesNothing) {
  be_enrolled();
  const int asked = link.authority_asked;
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  step();
  EXPECT_EQ(link.authority_asked, asked);
  EXPECT_FALSE(files.pending()->has_value());
}

TEST_F(MembershipTest, AnotherServersAuthorityIsNotBelieved) {
  link.authority_failure =
      net::HttpError{net::HttpFailure::tls_untrusted, {ErrorCode::denied, "another fingerprint", {}}};
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  EXPECT_GE(step(), milliseconds(150'000));
  EXPECT_FALSE(link.has(ServerCall::enroll));
  EXPECT_EQ(sync->status().last_error_code, "tls-untrusted");
}

TEST_F(MembershipTest, AnAnswerThatMayBeSomebodyElsesIsTriedAgainSlowly) {
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  step();
  link.answer(ServerCall::enroll, 403, "<html>log in to this network first</html>");
  EXPECT_GE(step(), milliseconds(150'000));
  EXPECT_EQ(sync->status().state, LinkState::enrolling);
  EXPECT_FALSE(sync->status().enrollment->refused);
  EXPECT_TRUE(sync->status().next_attempt);
}

TEST_F(MembershipTest, ARefusedTokenIsSaidAndNotTriedAgain) {
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  EXPECT_EQ(sync->status().enrollment->url, kUrl) << "who asked sees the wish at once";
  step();
  link.answer(
      ServerCall::enroll, 403,
      R"({"status":403,"code":"enrollment-refused","detail":"the token has expired: ask for a new one"})");
  step();
  pass(std::chrono::hours(24));
  EXPECT_FALSE(link.has(ServerCall::enroll));
  EXPECT_EQ(sync->status().state, LinkState::refused);
  EXPECT_TRUE(sync->status().enrollment->refused);
  EXPECT_FALSE(sync->status().next_attempt);
  EXPECT_NE(sync->status().last_error.find("the token has expired: ask for a new one"), std::string::npos);
  EXPECT_NE(to_json(sync->status()).find(R"("refused":true)"), std::string::npos);
  const std::string better = net::encode({std::string(24, 'b'), authority.certificate().fingerprint_bytes()});
  ASSERT_TRUE(sync->enroll(kUrl, better, ""));
  EXPECT_EQ(sync->status().enrollment->error, "") << "of the new wish nothing is known yet";
  step();
  EXPECT_EQ(sync->status().state, LinkState::enrolling);
  EXPECT_EQ(json::parse(link.get(ServerCall::enroll).body)["token"], better);
  link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll));
  step();
  EXPECT_FALSE(sync->status().enrollment);
  EXPECT_EQ(sync->status().last_error, "");
}

TEST_F(MembershipTest, AnEnrolmentThatCantEvenBeWishedForIsSaid) {
  sync->cannot_enroll(kUrl, {ErrorCode::invalid, "not an enrolment token: was it cut off?"});
  EXPECT_EQ(step(), std::chrono::hours(1));
  EXPECT_FALSE(link.has(ServerCall::enroll));
  EXPECT_EQ(sync->status().state, LinkState::refused);
  EXPECT_EQ(sync->status().url, kUrl);
  EXPECT_EQ(sync->status().last_error, "not an enrolment token: was it cut off?");
  EXPECT_EQ(sync->status().last_error_code, "invalid");
  ASSERT_TRUE(sync->status().enrollment);
  EXPECT_TRUE(sync->status().enrollment->refused);
  // Until somebody comes with a better one.
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  step();
  EXPECT_EQ(sync->status().state, LinkState::enrolling);
  EXPECT_EQ(sync->status().last_error, "");
  ASSERT_TRUE(sync->unenroll());
  step();
  EXPECT_EQ(sync->status().state, LinkState::not_enrolled);
  EXPECT_FALSE(sync->status().enrollment);
}

TEST_F(MembershipTest, AnEnrolmentThatCantBeWishedForHoldsUpNoOther) {
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  start();
  sync->cannot_enroll("", {ErrorCode::invalid, "not an enrolment token"});
  step();
  EXPECT_EQ(json::parse(link.get(ServerCall::enroll).body)["token"], token);
  EXPECT_EQ(sync->status().last_error, "");
  link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll));
  start();
  sync->cannot_enroll("", {ErrorCode::invalid, "not an enrolment token"});
  step();
  EXPECT_EQ(sync->status().state, LinkState::connecting) << "whoever is a node needs no token";
  EXPECT_FALSE(sync->status().enrollment);
  EXPECT_EQ(sync->status().last_error, "");
}

TEST_F(MembershipTest, AnswersThatDoNotFitAreNotBecome) {
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  step();
  const json good = json::parse(grant(ServerCall::enroll));
  std::vector<std::string> answers = {"", "[]", "{}"};
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{
           {"nodeId", "other"},
           {"nodeId", 7},
           {"certificate", "x"},
           {"certificate", authority.pem()},
           {"authority", "x"},
           {"certificate", authority.device(clock.wall(), "node-7").certificate}}) {
    json changed = good;
    changed[field] = value;
    answers.push_back(changed.dump());
  }
  for (const auto& answer : answers) {
    link.answer(ServerCall::enroll, 200, answer);
    EXPECT_FALSE(files.identity()->has_value()) << answer;
    pass(step());
    ASSERT_TRUE(link.has(ServerCall::enroll)) << answer;
  }
  link.answer(ServerCall::enroll, 200, good.dump());
  EXPECT_TRUE(files.identity()->has_value());
}

TEST_F(MembershipTest, AWishThatWasReplacedMeanwhileIsDropped) {
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  step();
  const std::string late = grant(ServerCall::enroll);
  ASSERT_TRUE(sync->unenroll());
  link.answer(ServerCall::enroll, 200, late);
  EXPECT_FALSE(files.identity()->has_value());
  step();
  EXPECT_EQ(sync->status().state, LinkState::not_enrolled);
}

TEST_F(MembershipTest, TheOldServerStaysUntilTheNewOneHasAnswered) {
  be_enrolled();
  ASSERT_TRUE(link.has(ServerCall::poll));
  const std::string other = net::encode({std::string(24, 'o'), authority.certificate().fingerprint_bytes()});
  ASSERT_TRUE(sync->enroll("other.example", other, ""));
  step();
  EXPECT_EQ(link.get(ServerCall::poll).peer.url, kUrl);
  link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll, "node-8"));
  step();
  EXPECT_EQ(link.get(ServerCall::poll).peer.url, "https://other.example:8443");
  EXPECT_EQ(ledger->status()->node_id, "node-8");
}

TEST_F(MembershipTest, UnenrollingForgetsWhoWeWereAndKeepsTasks) {
  be_enrolled();
  TaskSpec spec;
  spec.type = "echo";
  ASSERT_TRUE(ledger->create(spec));
  ASSERT_TRUE(sync->unenroll());
  EXPECT_EQ(step(), std::chrono::hours(1));
  EXPECT_FALSE(link.has(ServerCall::poll));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "identity.json"));
  EXPECT_EQ(sync->status().state, LinkState::not_enrolled);
  EXPECT_EQ(ledger->list({}, std::nullopt, 10)->tasks.size(), 1U);
}

TEST_F(MembershipTest, UnenrollingEndsAQuarantineAlsoAfterACrash) {
  for (const bool crash : {false, true}) {
    be_node();
    step();
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.quarantined = "two ledgers";
    ASSERT_TRUE(ledger->receive(answer));
    std::filesystem::rename(folder.path() / "identity.json", folder.path() / "kept");
    std::filesystem::create_directory(folder.path() / "identity.json");
    start();
    step();
    EXPECT_TRUE(ledger->held()) << "whose it is can't be read, which is not the same";
    std::filesystem::remove(folder.path() / "identity.json");
    std::filesystem::rename(folder.path() / "kept", folder.path() / "identity.json");
    start();
    step();
    EXPECT_TRUE(ledger->held());
    ASSERT_TRUE(sync->unenroll());
    if (crash) start();
    step();
    EXPECT_FALSE(ledger->held());
  }
}

TEST_F(MembershipTest, RenewsAtHalfItsLifeWithANewKey) {
  be_enrolled();
  const auto before = files.identity()->value();
  clock.advance(milliseconds(5 * kDay - 3'600'000));
  step();
  EXPECT_FALSE(link.has(ServerCall::renew));
  pass(milliseconds(3'600'000));
  ASSERT_TRUE(link.has(ServerCall::renew));
  EXPECT_EQ(link.get(ServerCall::renew).peer.certificate_pem, before.certificate_pem);
  link.answer(ServerCall::renew, 200, grant(ServerCall::renew));
  const auto after = files.identity()->value();
  EXPECT_NE(after.key_pem, before.key_pem);
  EXPECT_NE(after.certificate_pem, before.certificate_pem);
  EXPECT_EQ(after.node_id, "node-7");
  step();
  EXPECT_FALSE(link.has(ServerCall::renew));
  EXPECT_EQ(sync->status().certificate_expires, clock.wall() + 10 * kDay);
}

TEST_F(MembershipTest, ALostRenewalLeavesTheOldPairInUse) {
  be_enrolled();
  const auto before = files.identity()->value();
  pass(milliseconds(6 * kDay));
  ASSERT_TRUE(link.has(ServerCall::renew));
  link.lose(ServerCall::renew);
  EXPECT_EQ(files.identity()->value().certificate_pem, before.certificate_pem);
  start();
  step();
  EXPECT_EQ(link.get(ServerCall::poll).peer.certificate_pem, before.certificate_pem);
  EXPECT_TRUE(link.has(ServerCall::renew));
}

TEST_F(MembershipTest, ARenewalForAnotherNodeIsNotTaken) {
  be_enrolled();
  const auto before = files.identity()->value();
  pass(milliseconds(6 * kDay));
  link.answer(ServerCall::renew, 200, grant(ServerCall::renew, "node-9"));
  EXPECT_EQ(files.identity()->value().certificate_pem, before.certificate_pem);
  EXPECT_GT(step(), milliseconds(0));
}

TEST_F(MembershipTest, AnExpiredCertificateIsRenewedWhatevertheClockSays) {
  be_enrolled();
  step();
  link.answer(ServerCall::poll, 403, R"({"status":403,"code":"certificate-expired","detail":"renew it"})");
  step();
  ASSERT_TRUE(link.has(ServerCall::renew));
  EXPECT_FALSE(link.has(ServerCall::poll));
  link.answer(ServerCall::renew, 200, grant(ServerCall::renew));
  step();
  EXPECT_TRUE(link.has(ServerCall::poll));  // at once, with the new one
  EXPECT_EQ(link.get(ServerCall::poll).peer.certificate_pem, files.identity()->value().certificate_pem);
}

TEST_F(MembershipTest, AnAnswerToTheFormerCertificateThatComesLateRenewsNothing) {
  be_enrolled();
  step();
  answer_resync();
  if (link.has(ServerCall::reports)) answer_reports();
  if (poll().wait == 0) answer_poll();
  TaskSpec spec;
  spec.type = "echo";
  ASSERT_TRUE(ledger->create(spec));
  step();
  ASSERT_TRUE(link.has(ServerCall::reports));
  const std::string expired = R"({"status":403,"code":"certificate-expired","detail":"renew it"})";
  link.answer(ServerCall::poll, 403, expired);
  step();
  link.answer(ServerCall::renew, 200, grant(ServerCall::renew));
  if (link.has(ServerCall::reports)) link.answer(ServerCall::reports, 403, expired);
  step();
  EXPECT_FALSE(link.has(ServerCall::renew));
  ASSERT_TRUE(link.has(ServerCall::poll));
  ASSERT_TRUE(link.has(ServerCall::reports)) << "at once, with the new certificate";
  EXPECT_EQ(link.get(ServerCall::reports).peer.certificate_pem, files.identity()->value().certificate_pem);
  for (int second = 0; second < 100; ++second) pass(std::chrono::seconds(1));
  EXPECT_EQ(link.started(ServerCall::renew), 1);
}

TEST_F(MembershipTest, ARenewedCertificateThatIsCalledExpiredTooIsNotRenewedInACircle) {
  be_enrolled();
  step();
  const auto be_refused = [&] {
    if (link.has(ServerCall::poll))
      link.answer(ServerCall::poll, 403,
                  R"({"status":403,"code":"certificate-expired","detail":"renew it"})");
    if (link.has(ServerCall::renew)) link.answer(ServerCall::renew, 200, grant(ServerCall::renew));
  };
  for (int second = 0; second < 1800; ++second) {
    be_refused();
    pass(std::chrono::seconds(1));
  }
  EXPECT_GT(link.started(ServerCall::renew), 2);
  EXPECT_LT(link.started(ServerCall::renew), 40);
}

TEST_F(MembershipTest, ACertificateFromAServerWhoseClockWasAheadIsRenewed) {
  be_enrolled();
  epoch = 1;
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = ++epoch;
  answer.resync = true;
  answer.time = test::ManualClock::kStart - 3650 * kDay;
  link.answer(ServerCall::poll, 200, encode(answer));
  EXPECT_FALSE(link.has(ServerCall::renew));
  pass(std::chrono::hours(1));
  EXPECT_TRUE(link.has(ServerCall::renew));
}

TEST_F(MembershipTest, AClockTenYearsAheadDoesNotRenewInACircle) {
  be_enrolled();
  clock.set_wall(clock.wall() + 3650 * kDay);
  epoch = 1;
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = ++epoch;
  answer.resync = true;
  answer.time = test::ManualClock::kStart;
  link.answer(ServerCall::poll, 200, encode(answer));
  for (int hour = 0; hour < 10; ++hour) pass(std::chrono::hours(1));
  EXPECT_EQ(link.started(ServerCall::renew), 0);
}

TEST_F(MembershipTest, DamagedFilesAreSaidAndLeftAlone) {
  be_enrolled();
  std::ofstream(folder.path() / "identity.json") << R"({"serverUrl":"https://x:1"})";
  start();
  step();
  EXPECT_FALSE(link.has(ServerCall::poll));
  EXPECT_EQ(sync->status().last_error_code, "corrupt");
  EXPECT_NE(sync->status().last_error.find("enrol again"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "identity.json"));
  ASSERT_TRUE(sync->enroll(kUrl, token, ""));
  step();
  link.answer(ServerCall::enroll, 200, grant(ServerCall::enroll));
  step();
  EXPECT_TRUE(link.has(ServerCall::poll));
  EXPECT_TRUE(sync->status().last_error.empty());
}

}  // namespace
}  // namespace agenttask::agent
