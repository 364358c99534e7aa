#include "platform/net/certificate.hpp"

#include <gtest/gtest.h>
#include <openssl/x509.h>

#include "tests/support/certificates.hpp"

namespace agenttask::net {
namespace {

using test::TestAuthority;

constexpr UnixMilliseconds kNow = 1'800'000'000'000;
constexpr UnixMilliseconds kDay = TestAuthority::kDay;

struct CertificateTest : testing::Test {
  TestAuthority authority{kNow};

  Certificate issue(const CertificateContent& content) const {
    return Certificate::from_pem(authority.issue(content).certificate).value();
  }
  Certificate device() const {
    return issue({"node-1", {}, CertificatePurpose::client, kNow - kDay, kNow + kDay});
  }
  Certificate server() const {
    return issue({"server",
                  {"tasks.example", "127.0.0.1", "::1"},
                  CertificatePurpose::server,
                  kNow - kDay,
                  kNow + kDay});
  }
  std::string why_not(const Certificate& certificate, CertificatePurpose purpose, UnixMilliseconds now = kNow,
                      Expired expired = Expired::refused) const {
    const std::vector<Certificate> trusted = {authority.certificate()};
    const auto verified = verify(certificate, {}, trusted, purpose, now, expired);
    return verified ? "" : verified.error().message;
  }
};

TEST_F(CertificateTest, DeviceMayBeAClientAndNothingElse) {
  const Certificate certificate = device();
  EXPECT_EQ(certificate.common_name(), "node-1");
  EXPECT_TRUE(certificate.allows(CertificatePurpose::client));
  EXPECT_FALSE(certificate.allows(CertificatePurpose::server));
  EXPECT_FALSE(certificate.is_authority());
  EXPECT_EQ(why_not(certificate, CertificatePurpose::client), "");
  EXPECT_NE(why_not(certificate, CertificatePurpose::server), "");
}

TEST_F(CertificateTest, ServerMayBeAServerUnderItsNames) {
  const Certificate certificate = server();
  EXPECT_EQ(why_not(certificate, CertificatePurpose::server), "");
  EXPECT_NE(why_not(certificate, CertificatePurpose::client), "");
  EXPECT_EQ(certificate.host_names(), std::vector<std::string>{"tasks.example"});
  EXPECT_EQ(certificate.addresses(), (std::vector<std::string>{"127.0.0.1", "0:0:0:0:0:0:0:1"}));
  for (const char* host : {"tasks.example", "TASKS.example", "127.0.0.1", "::1"})
    EXPECT_TRUE(certificate.covers(host)) << host;
  for (const char* host : {"other.example", "x.tasks.example", "127.0.0.2", "", "server"})
    EXPECT_FALSE(certificate.covers(host)) << host;
}

TEST_F(CertificateTest, CountsOnlyWithinItsLife) {
  const Certificate certificate = device();
  EXPECT_EQ(certificate.not_before(), kNow - kDay);
  EXPECT_EQ(certificate.not_after(), kNow + kDay);
  EXPECT_EQ(why_not(certificate, CertificatePurpose::client, kNow + kDay - 1000), "");
  EXPECT_NE(why_not(certificate, CertificatePurpose::client, kNow + kDay + 1000).find("expired"),
            std::string::npos);
  EXPECT_NE(why_not(certificate, CertificatePurpose::client, kNow - kDay - 1000).find("not yet valid"),
            std::string::npos);
}

TEST_F(CertificateTest, AnExpiredOneMayStillBeKnownForWhatItWas) {
  EXPECT_EQ(why_not(device(), CertificatePurpose::client, kNow + 100 * kDay, Expired::accepted), "");
  const TestAuthority other(kNow);
  const auto foreign = Certificate::from_pem(other.device(kNow).certificate).value();
  EXPECT_NE(why_not(foreign, CertificatePurpose::client, kNow + 100 * kDay, Expired::accepted), "");
}

TEST_F(CertificateTest, AnotherAuthorityOfTheSameNameCountsNothing) {
  const TestAuthority other(kNow);
  EXPECT_NE(
      why_not(Certificate::from_pem(other.device(kNow).certificate).value(), CertificatePurpose::client), "");
}

TEST_F(CertificateTest, TamperingIsNoticed) {
  std::string der = device().to_der();
  const auto at = der.find("node-1");
  ASSERT_NE(at, std::string::npos);
  der[at + 5] = '2';
  const auto tampered = Certificate::from_der(der);
  ASSERT_TRUE(tampered);
  EXPECT_EQ(tampered->common_name(), "node-2");
  EXPECT_NE(why_not(*tampered, CertificatePurpose::client), "");
}

TEST_F(CertificateTest, ADeviceCannotSignFurtherCertificates) {
  const auto credentials = authority.device(kNow);
  const auto certificate = Certificate::from_pem(credentials.certificate).value();
  const auto key = PrivateKey::from_pem(credentials.key).value();
  const auto request = CertificateRequest::make(PrivateKey::generate(), "x");
  EXPECT_FALSE(
      net::issue(certificate, key, request, {"x", {}, CertificatePurpose::client, kNow, kNow + kDay}));
}

TEST_F(CertificateTest, LivesNoLongerThanItsAuthority) {
  const Certificate certificate =
      issue({"node", {}, CertificatePurpose::client, 1'000'000, kNow + 100'000 * kDay});
  EXPECT_EQ(certificate.not_after(), authority.certificate().not_after());
  EXPECT_EQ(certificate.not_before(), authority.certificate().not_before());
}

TEST_F(CertificateTest, RenewalIsDueAtHalfItsLife) {
  const Certificate certificate = device();
  EXPECT_FALSE(certificate.renewal_due(kNow - 1));
  EXPECT_TRUE(certificate.renewal_due(kNow));
}

TEST_F(CertificateTest, OnlyTheKeyOfARequestCounts) {
  const auto key = PrivateKey::generate();
  const auto request = CertificateRequest::make(key, "i-am-root");
  const auto certificate = net::issue(authority.certificate(), authority.key(), request,
                                      {"node-7", {}, CertificatePurpose::client, kNow - kDay, kNow + kDay})
                               .value();
  EXPECT_EQ(certificate.common_name(), "node-7");
  EXPECT_TRUE(certificate.matches(key));
  EXPECT_FALSE(certificate.matches(PrivateKey::generate()));
  EXPECT_EQ(certificate.public_key_digest(), request.public_key_digest());
}

TEST_F(CertificateTest, NamesThatAreNoneAreRefused) {
  const auto request = CertificateRequest::make(PrivateKey::generate(), "x");
  for (const char* name : {"", "a b", "x,DNS:evil.example", "x\nIP:1.2.3.4", "h\xC3\xB6st"}) {
    const auto issued = net::issue(authority.certificate(), authority.key(), request,
                                   {"server", {name}, CertificatePurpose::server, kNow, kNow + kDay});
    EXPECT_FALSE(issued) << name;
  }
}

TEST_F(CertificateTest, ListsKeepTheirOrderAndOneMeansOne) {
  const std::string two = device().to_pem() + "comment\n" + authority.pem();
  const auto list = Certificate::list_from_pem(two);
  ASSERT_TRUE(list);
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ((*list)[0].common_name(), "node-1");
  EXPECT_FALSE(Certificate::from_pem(two));
  std::string many;
  for (int i = 0; i < 17; ++i) many += authority.pem();
  EXPECT_EQ(Certificate::list_from_pem(many).error().code, ErrorCode::limit);
}

TEST_F(CertificateTest, GarbageIsRefusedWithAMessage) {
  const std::string pem = device().to_pem();
  for (const std::string& text :
       {std::string(), std::string("hello"), pem.substr(0, pem.size() / 2),
        std::string("-----BEGIN CERTIFICATE-----\n"),
        std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        authority.key().to_pem()}) {
    const auto parsed = Certificate::from_pem(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_FALSE(parsed.error().message.empty());
  }
  EXPECT_FALSE(Certificate::from_der(device().to_der() + "x"));
  EXPECT_FALSE(Certificate::from_der(""));
}

TEST_F(CertificateTest, FingerprintIsOfTheDerForm) {
  const Certificate certificate = device();
  EXPECT_EQ(certificate.fingerprint().size(), 64U);
  EXPECT_EQ(certificate.fingerprint_bytes().size(), 32U);
  EXPECT_EQ(Certificate::from_der(certificate.to_der()).value().fingerprint(), certificate.fingerprint());
}

TEST_F(CertificateTest, WhatOpenSslHasReadIsSharedAndOutlivesIt) {
  const Certificate certificate = device();
  const std::string der = certificate.to_der();
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  X509* read = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  ASSERT_NE(read, nullptr);
  const Certificate shared = Certificate::share(read);
  X509_free(read);
  EXPECT_EQ(shared.fingerprint(), certificate.fingerprint());
  EXPECT_EQ(shared.common_name(), "node-1");
  EXPECT_TRUE(shared.allows(CertificatePurpose::client));
}

TEST(PrivateKeyTest, ComesBackAsItWas) {
  const auto key = PrivateKey::generate();
  EXPECT_EQ(PrivateKey::from_pem(key.to_pem()).value().public_key_digest(), key.public_key_digest());
  EXPECT_NE(PrivateKey::generate().public_key_digest(), key.public_key_digest());
}

TEST(PrivateKeyTest, WeakEncryptedAndBrokenKeysAreRefused) {
  EXPECT_FALSE(PrivateKey::from_pem(""));
  EXPECT_FALSE(PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  EXPECT_FALSE(PrivateKey::from_pem(std::string(100'000, 'x')));
  const auto encrypted = PrivateKey::from_pem(
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
  ASSERT_FALSE(encrypted);
  EXPECT_NE(encrypted.error().message.find("encrypted"), std::string::npos);
}

TEST(CertificateRequestTest, ProvesThatItsMakerHoldsTheKey) {
  const auto key = PrivateKey::generate();
  const std::string pem = CertificateRequest::make(key, "host").to_pem();
  const auto parsed = CertificateRequest::from_pem(pem);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->common_name(), "host");
  EXPECT_EQ(parsed->public_key_digest(), key.public_key_digest());
  // One flipped character of the signature.
  std::string forged = pem;
  const auto at = forged.find("-----END") - 10;
  forged[at] = forged[at] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(CertificateRequest::from_pem(forged));
}

TEST(CertificateRequestTest, HostileInputIsRefused) {
  const std::string pem = CertificateRequest::make(PrivateKey::generate(), "host").to_pem();
  EXPECT_FALSE(CertificateRequest::from_pem(""));
  EXPECT_FALSE(CertificateRequest::from_pem("hello"));
  EXPECT_FALSE(CertificateRequest::from_pem(pem + pem));
  EXPECT_FALSE(CertificateRequest::from_pem(pem.substr(0, pem.size() - 40)));
  EXPECT_EQ(CertificateRequest::from_pem(std::string(17 * 1024, 'x')).error().code, ErrorCode::limit);
  EXPECT_TRUE(CertificateRequest::make(PrivateKey::generate(), std::string(200, 'n')).common_name().empty());
}

}  // namespace
}  // namespace agenttask::net
