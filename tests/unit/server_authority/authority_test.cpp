#include "server/authority/authority.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/certificates.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::server {
namespace {

using std::chrono::milliseconds;
using test::TestAuthority;

constexpr DurationMilliseconds kDay = 24LL * 3600 * 1000;

struct AuthorityTest : testing::Test {
  test::TemporaryFolder folder;
  test::ManualClock clock;
  AuthoritySettings settings{
      .folder = folder.path() / "authority", .server_names = {"tasks.example", "127.0.0.1"}, .own = {}};

  std::unique_ptr<Authority> open() {
    auto opened = Authority::open(settings, clock);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? *std::move(opened) : nullptr;
  }
  static net::Certificate shown(const Authority& authority) {
    return net::Certificate::from_pem(authority.server_identity().certificate_pem).value();
  }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder.path() / name) << text;
    std::filesystem::permissions(folder.path() / name,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  static std::filesystem::perms mode(const std::filesystem::path& file) {
    return std::filesystem::status(file).permissions();
  }
};

TEST_F(AuthorityTest, IsMadeOnceForTenYearsWithPrivateFiles) {
  EXPECT_EQ(Authority::open(settings, clock).error().code, ErrorCode::not_found);
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto authority = open();
  const auto certificate = net::Certificate::from_pem(authority->authority_pem()).value();
  EXPECT_TRUE(certificate.is_authority());
  EXPECT_EQ(certificate.not_after() / kDay, (clock.wall() + 3650 * kDay) / kDay);
  EXPECT_EQ(certificate.fingerprint_bytes(), authority->authority_fingerprint());
  for (const char* name : {"authority.pem", "authority.key", "server.pem"}) {
    EXPECT_EQ(mode(settings.folder / name), std::filesystem::perms(0600)) << name;
  }
  EXPECT_EQ(mode(settings.folder), std::filesystem::perms(0700));
  EXPECT_EQ(Authority::create(settings.folder, clock).error().code, ErrorCode::conflict);
  EXPECT_EQ(open()->authority_pem(), authority->authority_pem());
}

TEST_F(AuthorityTest, ACutOffCreationIsMadeAgain) {
  std::filesystem::create_directory(settings.folder);
  std::ofstream(settings.folder / "authority.key") << "half a ke";
  EXPECT_TRUE(Authority::create(settings.folder, clock));
  EXPECT_NE(open(), nullptr);
}

TEST_F(AuthorityTest, ServersCertificateHoldsTheNamesAndComesBackAfterARestart) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto first = open();
  const auto certificate = shown(*first);
  EXPECT_TRUE(certificate.covers("tasks.example"));
  EXPECT_TRUE(certificate.covers("127.0.0.1"));
  EXPECT_TRUE(certificate.matches(net::PrivateKey::from_pem(first->server_identity().key_pem).value()));
  const std::vector<net::Certificate> trusted = {net::Certificate::from_pem(first->authority_pem()).value()};
  EXPECT_TRUE(net::verify(certificate, {}, trusted, net::CertificatePurpose::server, clock.wall()));
  EXPECT_FALSE(net::verify(certificate, {}, trusted, net::CertificatePurpose::client, clock.wall()));
  EXPECT_EQ(shown(*open()).fingerprint(), certificate.fingerprint());
  settings.server_names.push_back("new.example");
  const auto other = open();
  EXPECT_NE(shown(*other).fingerprint(), certificate.fingerprint());
  EXPECT_TRUE(shown(*other).covers("new.example"));
  settings.server_names = {};
  std::filesystem::remove(settings.folder / "server.pem");
  EXPECT_EQ(Authority::open(settings, clock).error().code, ErrorCode::invalid);
}

TEST_F(AuthorityTest, ServersCertificateIsRenewedAtHalfItsLife) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  settings.server_lifetime = 100 * kDay;
  const auto authority = open();
  const auto before = shown(*authority).fingerprint();
  clock.advance(milliseconds(49 * kDay));
  EXPECT_FALSE(authority->renew_if_due().value());
  clock.advance(milliseconds(kDay));
  EXPECT_TRUE(authority->renew_if_due().value());
  EXPECT_NE(shown(*authority).fingerprint(), before);
  EXPECT_EQ(authority->server_identity().not_after, shown(*authority).not_after());
  EXPECT_FALSE(authority->renew_if_due().value());
}

TEST_F(AuthorityTest, AClockBeforeItsBeginningKeepsTheServersCertificate) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto before = shown(*open()).to_pem();
  clock.set_wall(test::ManualClock::kStart - 3650 * kDay);
  auto authority = open();
  ASSERT_TRUE(authority);
  EXPECT_EQ(shown(*authority).to_pem(), before);
  EXPECT_FALSE(authority->renew_if_due().value());
  std::filesystem::remove(settings.folder / "server.pem");
  authority = open();
  ASSERT_TRUE(authority);
  clock.set_wall(test::ManualClock::kStart);
  EXPECT_FALSE(authority->renew_if_due().value()) << "what was made meanwhile serves when the clock is right";
}

TEST_F(AuthorityTest, AClockYearsAheadOrBackShowsACertificateThatOthersTake) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto others = test::ManualClock::kStart + 4 * 365 * kDay;
  const auto is_taken = [&](const Authority& authority, UnixMilliseconds now) {
    const std::vector trusted{net::Certificate::from_pem(authority.authority_pem()).value()};
    return net::verify(shown(authority), {}, trusted, net::CertificatePurpose::server, now).has_value();
  };
  for (const auto jump : {8 * 365 * kDay, -3 * 365 * kDay, 3650 * kDay, -3650 * kDay}) {
    std::filesystem::remove(settings.folder / "server.pem");
    clock.set_wall(others);
    const auto authority = open();
    ASSERT_TRUE(authority);
    clock.set_wall(others + jump);
    ASSERT_TRUE(authority->renew_if_due());
    EXPECT_TRUE(is_taken(*authority, others)) << jump / kDay;
    EXPECT_TRUE(is_taken(*authority, authority->believed_time())) << jump / kDay;
    EXPECT_FALSE(authority->renew_if_due().value()) << "again and again " << jump / kDay;
    EXPECT_TRUE(is_taken(*open(), others)) << jump / kDay;
    clock.set_wall(others);
    EXPECT_FALSE(authority->renew_if_due().value()) << jump / kDay;
    EXPECT_TRUE(is_taken(*authority, others)) << jump / kDay;
  }
}

TEST_F(AuthorityTest, ACertificateFromAClockThatWasAheadIsFollowedByOneForNow) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  clock.set_wall(test::ManualClock::kStart + 5 * 365 * kDay);
  (void)open();
  clock.set_wall(test::ManualClock::kStart);
  const auto authority = open();
  ASSERT_TRUE(authority);
  EXPECT_LE(shown(*authority).not_before(), clock.wall());
  EXPECT_FALSE(authority->renew_if_due().value());
}

TEST_F(AuthorityTest, PastTheAuthoritysEndCertificatesLastUntilThere) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto authority = open();
  clock.set_wall(clock.wall() + 20 * 365 * kDay);
  const auto end = net::Certificate::from_pem(authority->authority_pem()).value().not_after();
  EXPECT_LT(authority->believed_time(), end);
  const auto request = net::CertificateRequest::make(net::PrivateKey::generate(), "x").to_pem();
  const auto issued = authority->issue_device("node", request);
  ASSERT_TRUE(issued) << issued.error().message;
  EXPECT_EQ(issued->not_after, end);
}

TEST_F(AuthorityTest, ADamagedServersCertificateIsNoLoss) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto before = shown(*open()).fingerprint();
  std::ofstream(settings.folder / "server.pem") << "garbage";
  EXPECT_NE(shown(*open()).fingerprint(), before);
}

TEST_F(AuthorityTest, ADamagedOrExposedAuthorityIsRefusedAndLeftAlone) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  std::filesystem::permissions(settings.folder / "authority.key", std::filesystem::perms(0644));
  EXPECT_EQ(Authority::open(settings, clock).error().code, ErrorCode::denied);
  std::filesystem::permissions(settings.folder / "authority.key", std::filesystem::perms(0600));
  std::ofstream(settings.folder / "authority.key") << net::PrivateKey::generate().to_pem();
  EXPECT_EQ(Authority::open(settings, clock).error().code, ErrorCode::corrupt);
  EXPECT_TRUE(std::filesystem::exists(settings.folder / "authority.pem"));
}

TEST_F(AuthorityTest, DevicesGetCertificatesForClientsOnly) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const auto authority = open();
  const auto key = net::PrivateKey::generate();
  const auto issued =
      authority->issue_device("node-1", net::CertificateRequest::make(key, "whatever").to_pem());
  ASSERT_TRUE(issued);
  const auto certificate = net::Certificate::from_pem(issued->certificate_pem).value();
  EXPECT_EQ(certificate.common_name(), "node-1");
  EXPECT_EQ(certificate.fingerprint(), issued->fingerprint);
  EXPECT_EQ(key.public_key_digest(), issued->public_key_digest);
  EXPECT_EQ(issued->not_after, clock.wall() + 90 * kDay);
  EXPECT_EQ(certificate.not_before(), clock.wall() - 3600 * 1000);
  const std::vector<net::Certificate> trusted = {
      net::Certificate::from_pem(authority->device_authority_pem()).value()};
  EXPECT_TRUE(net::verify(certificate, {}, trusted, net::CertificatePurpose::client, clock.wall()));
  EXPECT_FALSE(net::verify(certificate, {}, trusted, net::CertificatePurpose::server, clock.wall()));
  const auto refused = authority->issue_device("node-1", "not a request");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().field, "request");
  EXPECT_FALSE(authority->issue_device("", net::CertificateRequest::make(key, "x").to_pem()));
}

TEST_F(AuthorityTest, ShortLivesDoNotBeginInTheirSecondHalf) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  settings.device_lifetime = settings.server_lifetime = 60'000;
  const auto authority = open();
  EXPECT_FALSE(shown(*authority).renewal_due(clock.wall()));
  const auto issued =
      authority->issue_device("n", net::CertificateRequest::make(net::PrivateKey::generate(), "n").to_pem())
          .value();
  EXPECT_FALSE(net::Certificate::from_pem(issued.certificate_pem).value().renewal_due(clock.wall()));
}

TEST_F(AuthorityTest, ACompanysOwnCertificateIsShownAndOursStillSignsDevices) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const TestAuthority company(clock.wall(), "company");
  const auto own = company.server(clock.wall(), {"tasks.example"});
  write("own.pem", own.certificate);
  write("own.key", own.key);
  write("company.pem", company.pem());
  settings.own = OwnServerCertificate{folder.path() / "own.pem", folder.path() / "own.key",
                                      folder.path() / "company.pem"};
  const auto authority = open();
  EXPECT_EQ(authority->server_identity().certificate_pem, own.certificate);
  EXPECT_EQ(authority->authority_pem(), company.pem());
  EXPECT_EQ(authority->authority_fingerprint(), company.certificate().fingerprint_bytes());
  EXPECT_NE(authority->device_authority_pem(), company.pem());
  EXPECT_FALSE(authority->renew_if_due().value());
  const auto renewed = company.server(clock.wall(), {"tasks.example"});
  write("own.pem", renewed.certificate);
  EXPECT_FALSE(authority->renew_if_due());  // the key does not fit yet: the old one stays
  EXPECT_EQ(authority->server_identity().certificate_pem, own.certificate);
  write("own.key", renewed.key);
  EXPECT_TRUE(authority->renew_if_due().value());
  EXPECT_EQ(authority->server_identity().certificate_pem, renewed.certificate);
}

TEST_F(AuthorityTest, ACompanysCertificateThatDoesNotFitIsRefused) {
  ASSERT_TRUE(Authority::create(settings.folder, clock));
  const TestAuthority company(clock.wall(), "company");
  settings.own = OwnServerCertificate{folder.path() / "own.pem", folder.path() / "own.key",
                                      folder.path() / "company.pem"};
  EXPECT_EQ(Authority::open(settings, clock).error().code, ErrorCode::not_found);
  const auto put = [&](const test::Credentials& credentials, const std::string& trusted) {
    write("own.pem", credentials.certificate);
    write("own.key", credentials.key);
    write("company.pem", trusted);
    const auto opened = Authority::open(settings, clock);
    return opened ? std::string("taken") : opened.error().message;
  };
  EXPECT_EQ(put(company.server(clock.wall()), company.pem()), "taken");
  EXPECT_NE(put(company.server(clock.wall()), TestAuthority(clock.wall()).pem()), "taken");
  EXPECT_NE(put(company.device(clock.wall()), company.pem()), "taken");
  EXPECT_NE(put(company.server(clock.wall() - 100 * kDay), company.pem()), "taken");
  EXPECT_NE(put({company.server(clock.wall()).certificate, company.server(clock.wall()).key}, company.pem()),
            "taken");
}

}  // namespace
}  // namespace agenttask::server
