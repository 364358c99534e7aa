#include "server/store/store_copy.hpp"
#include "tests/component/server_api/devices_fixture.hpp"

// Certificates of the time between a backup and its restore, which the server does not know.
namespace agenttask::server::test {
namespace {

using namespace std::chrono_literals;

class LostTimeApi : public DevicesApi {
 protected:
  LostTimeApi() {
    const auto taken = clock.wall();
    clock.advance(1h);
    lost = device;
    lost.certificate.fingerprint = std::string(64, 'f');
    lost.certificate.issued_at = clock.wall();
    lost.certificate.expires_at = clock.wall() + 90 * limits::kDay;
    clock.advance(1h);
    close_store();
    const auto prepared = prepare_restored_store(folder.path() / "server.db", taken, clock.wall());
    EXPECT_TRUE(prepared) << prepared.error().message;
    open_store();
    clock.advance(1h);
  }
  int poll_status() {
    auto asked = poll_of(lost);
    return std::get<Response>(poll(lost, asked)).status;
  }
  int renew_status() {
    const json body = {
        {"request", net::CertificateRequest::make(net::PrivateKey::generate(), "ignored").to_pem()}};
    return call("POST", "/v1/device/renew", body.dump(), {.certificate = lost.certificate}).status;
  }
  void let_it_expire() {
    clock.advance(91 * 24h);
    lost.certificate.expires_at = clock.wall() - 1;
  }
  /// The certificate that lies with the device; the fixture's, renewed in the lost time.
  EnrolledDevice lost;
};

TEST_F(LostTimeApi, ADeviceThatRenewedInItGoesOn) {
  EXPECT_EQ(poll_status(), 200);
}

TEST_F(LostTimeApi, ADeviceThatRenewedInTheSecondInWhichItEnrolledGoesOn) {
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    auto row = writes.node(device.id).value();
    row.enrolled_at = lost.certificate.issued_at + 999;
    writes.update_node(row);
    return {};
  }));
  EXPECT_EQ(poll_status(), 200);
}

TEST_F(LostTimeApi, ADeviceThatWasReplacedSinceDoesNotComeBackWithIt) {
  const auto token =
      ok("POST", "/v1/enrollment-tokens", {{"replace", device.id}}, 201)["token"].get<std::string>();
  ASSERT_EQ(post_enroll(token, net::PrivateKey::generate(), "alpha").status, 200);
  EXPECT_EQ(poll_status(), 403);
  let_it_expire();
  EXPECT_EQ(renew_status(), 403);
}

TEST_F(LostTimeApi, ADeviceThatWasAwaySinceMayRenewWhatHasExpired) {
  let_it_expire();
  EXPECT_EQ(poll_status(), 403);
  EXPECT_EQ(renew_status(), 200);
}

TEST_F(LostTimeApi, OneThatExpiredWhileItsDeviceHadAnotherIsNone) {
  let_it_expire();
  clock.advance(48h);
  ASSERT_EQ(std::get<Response>(poll(device, poll_of(device))).status, 200);
  EXPECT_EQ(renew_status(), 403);
}

}  // namespace
}  // namespace agenttask::server::test
