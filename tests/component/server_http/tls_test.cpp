#include <gmock/gmock.h>

#include "tests/component/server_http/kit.hpp"

namespace agenttask::server {
namespace {

using kit::Client;
using kit::get;
using kit::Issuer;
using kit::Paper;
using kit::ServerKit;

constexpr UnixMilliseconds kHour = 3600'000;

class TlsTest : public ::testing::Test {
 protected:
  std::string who(const std::optional<Paper>& paper, int highest = TLS1_3_VERSION) const {
    Client client(server->http->port(), {paper, highest, nullptr, true});
    if (!client.connected()) return "no handshake";
    // With TLS 1.3 a client learns only here that its certificate was refused.
    const auto answer = client.ask(get("/"));
    return answer.status == 200 ? answer.body.substr(answer.body.rfind(" 0 ") + 3) : "no answer";
  }
  kit::FunctionHandler handler;
  std::unique_ptr<ServerKit> server = std::make_unique<ServerKit>(handler);
};

TEST_F(TlsTest, ClientsWithoutACertificateAreNobody) {
  EXPECT_EQ(who(std::nullopt), "nobody");
}

TEST_F(TlsTest, DevicesAreKnownByTheirCertificate) {
  const auto paper = server->issuer.device("node-1");
  PeerCertificate seen;
  handler.function = [&](const std::shared_ptr<Exchange>& exchange) {
    ASSERT_TRUE(exchange->request()->certificate);
    seen = *exchange->request()->certificate;
    EXPECT_FALSE(exchange->request()->certificate_expired);
    exchange->respond({200, "text/plain", "", {}});
  };
  Client client(server->http->port(), {paper, TLS1_3_VERSION, nullptr, true});
  ASSERT_EQ(client.ask(get("/")).status, 200);
  EXPECT_EQ(seen.node_id, "node-1");
  EXPECT_EQ(seen.fingerprint, paper.fingerprint);
}

TEST_F(TlsTest, AnExpiredCertificatePassesAndIsMarked) {
  const auto now = server->clock.wall();
  EXPECT_EQ(who(server->issuer.issue("node-1", net::CertificatePurpose::client, now - kHour)),
            "node-1 expired");
}

TEST_F(TlsTest, ACertificateOfAnotherAuthorityFails) {
  EXPECT_EQ(who(Issuer().device("node-1")), "no answer");
}

TEST_F(TlsTest, AServersCertificateIsNoClients) {
  EXPECT_EQ(who(server->issuer.server()), "no answer");
}

TEST_F(TlsTest, Tls12IsSpokenOnlyWhereAllowed) {
  EXPECT_EQ(who(std::nullopt, TLS1_2_VERSION), "no handshake");
  server = std::make_unique<ServerKit>(handler, HttpLimits{}, true);
  EXPECT_EQ(who(std::nullopt, TLS1_2_VERSION), "nobody");
  EXPECT_EQ(who(server->issuer.device("node-1"), TLS1_2_VERSION), "node-1");
  EXPECT_EQ(who(Issuer().device("node-1"), TLS1_2_VERSION), "no handshake");
  EXPECT_EQ(who(std::nullopt, TLS1_1_VERSION), "no handshake");
}

TEST_F(TlsTest, SessionsAreResumedWithTheirCertificateAlsoAfterARestart) {
  const Issuer issuer;
  const auto paper = issuer.device("node-1");
  auto keys = std::make_shared<TicketKeys>();
  keys->rotate(server->clock.wall());
  server = std::make_unique<ServerKit>(handler, HttpLimits{}, false, keys, &issuer);
  SSL_SESSION* session = nullptr;
  {
    Client client(server->http->port(), {paper, TLS1_3_VERSION, nullptr, true});
    ASSERT_EQ(client.ask(get("/")).status, 200);
    EXPECT_FALSE(client.resumed());
    session = client.take_session();
  }
  ASSERT_NE(session, nullptr);
  // What is kept on disk is all that the next run has.
  std::shared_ptr<TicketKeys> kept = TicketKeys::decode(keys->encode()).value();
  server = std::make_unique<ServerKit>(handler, HttpLimits{}, false, kept, &issuer);
  Client again(server->http->port(), {paper, TLS1_3_VERSION, session, true});
  EXPECT_EQ(again.ask(get("/")).body, "GET / 0 node-1");
  EXPECT_TRUE(again.resumed());
  SSL_SESSION_free(session);
}

TEST_F(TlsTest, EachSessionBringsOneTicketForTheNext) {
  SSL_SESSION* session = nullptr;
  for (int connection = 0; connection < 4; ++connection) {
    Client client(server->http->port(), {std::nullopt, TLS1_3_VERSION, session, true});
    ASSERT_EQ(client.ask(get("/")).status, 200);
    EXPECT_EQ(client.resumed(), connection > 0) << connection;
    EXPECT_EQ(client.tickets(), 1) << connection;
    SSL_SESSION_free(session);
    session = client.take_session();
    ASSERT_NE(session, nullptr) << connection;
  }
  SSL_SESSION_free(session);
}

TEST_F(TlsTest, ATicketOfForgottenKeysIsAFullHandshake) {
  SSL_SESSION* session = nullptr;
  {
    Client client(server->http->port());
    client.ask(get("/"));
    session = client.take_session();
  }
  ASSERT_NE(session, nullptr);
  server = std::make_unique<ServerKit>(handler);
  Client again(server->http->port(), {std::nullopt, TLS1_3_VERSION, session, true});
  EXPECT_EQ(again.ask(get("/")).status, 200);
  EXPECT_FALSE(again.resumed());
  SSL_SESSION_free(session);
}

TEST_F(TlsTest, TheIdentityCanBeChangedWhileRunning) {
  Client before(server->http->port());
  ASSERT_EQ(before.ask(get("/")).status, 200);
  const Issuer other;
  const auto paper = other.server();
  ASSERT_TRUE(server->http->use(TlsIdentity{paper.certificate, paper.key, other.pem(), false}));
  EXPECT_EQ(who(other.device("node-2")), "node-2");
  EXPECT_EQ(who(server->issuer.device("node-1")), "no answer");
  EXPECT_EQ(before.ask(get("/")).status, 200);
}

TEST_F(TlsTest, AnIdentityThatDoesNotFitChangesNothing) {
  const auto good = server->identity();
  auto bad = good;
  bad.private_key = Issuer().server().key;
  EXPECT_FALSE(server->http->use(bad));
  bad = good;
  bad.certificate_chain = "nonsense";
  EXPECT_FALSE(server->http->use(bad));
  bad = good;
  bad.device_authority.clear();
  EXPECT_FALSE(server->http->use(bad));
  EXPECT_EQ(who(server->issuer.device("node-1")), "node-1");
}

}  // namespace
}  // namespace agenttask::server
