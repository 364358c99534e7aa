#include "tests/component/server_api/devices_fixture.hpp"

// What an enrolled device can make the server do, however hard it tries.
namespace agenttask::server::test {
namespace {

using namespace std::chrono_literals;

class HostileDevices : public DevicesApi {
 protected:
  static std::string header(const Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return {};
  }
  Response asked(const PollRequest& request) { return std::get<Response>(poll(device, request)); }
  Response renew() {
    const json body = {
        {"request", net::CertificateRequest::make(net::PrivateKey::generate(), "ignored").to_pem()}};
    return call("POST", "/v1/device/renew", body.dump(), {.certificate = device.certificate});
  }
  NodeRecord row() { return store->read().value()->node(device.id).value(); }
  Response post(std::int64_t epoch, Cursor from = {}) {
    ReportBatch batch{protocol_version(), epoch, "incarnation-" + device.id, std::move(from), {}};
    return call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate});
  }
};

TEST_F(HostileDevices, AnEpochFromNowhereIsRefused) {
  polled(device, poll_of(device));
  for (const std::int64_t epoch : {std::int64_t{1} + (1 << 20) + 1, INT64_MAX / 2}) {
    for (const auto& response : {asked(poll_of(device, {}, epoch)), post(epoch)}) {
      EXPECT_EQ(response.status, 400) << response.body;
      EXPECT_EQ(json::parse(response.body)["field"], "epoch");
    }
  }
  EXPECT_EQ(row().epoch, 1);
  // As far ahead as no restored server ever was.
  EXPECT_EQ(polled(device, poll_of(device, {}, 1 + (1 << 20))).epoch, 2 + (1 << 20));
}

TEST_F(HostileDevices, EpochsAreNotOpenedInALoop) {
  polled(device, poll_of(device));
  ASSERT_TRUE(polled(device, poll_of(device, {}, 2)).resync);
  EXPECT_EQ(row().epoch, 3);
  for (const auto& response :
       {asked(poll_of(device, {}, 4)), asked(poll_of(device, {1, std::string(64, 'a')}, 3)), post(4),
        post(3, {1, std::string(64, 'a')})}) {
    EXPECT_EQ(response.status, 429) << response.body;
    EXPECT_EQ(json::parse(response.body)["code"], "too-often");
    EXPECT_EQ(header(response, "Retry-After"), "10");
  }
  EXPECT_EQ(row().epoch, 3);
  // Whoever takes the new epoch goes on at once, and others are not concerned.
  EXPECT_FALSE(polled(device, poll_of(device, {}, 3)).resync);
  EXPECT_EQ(post(3).status, 200);
  const auto other = enroll("beta");
  polled(other, poll_of(other));
  EXPECT_TRUE(polled(other, poll_of(other, {}, 2)).resync);
  clock.advance(9'001ms);
  EXPECT_EQ(header(asked(poll_of(device, {}, 4)), "Retry-After"), "1");
  clock.advance(999ms);
  EXPECT_TRUE(polled(device, poll_of(device, {}, 4)).resync);
  EXPECT_EQ(asked(poll_of(device, {}, 6)).status, 429);
}

TEST_F(HostileDevices, AWrongChainInTheMiddleOfABatchOpensNoEpochsInALoop) {
  report(device, {SnapshotEndReport{0}, SnapshotEndReport{0}});
  const auto forged = [&](std::int64_t epoch) {
    ReportBatch batch{protocol_version(), epoch, "incarnation-" + device.id, {}, {}};
    for (int i = 1; i <= 3; ++i) batch.lines.push_back(encode(Report{i, SnapshotEndReport{7}}));
    return call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate});
  };
  const auto opened = forged(1);
  ASSERT_EQ(opened.status, 200);
  EXPECT_EQ(json::parse(opened.body)["resync"], true);
  const auto cursor_of_new = row().reports;
  EXPECT_EQ(cursor_of_new.sequence, 0);
  ReportBatch honest{protocol_version(), 2, "incarnation-" + device.id, {}, {}};
  honest.lines.push_back(encode(Report{1, SnapshotEndReport{0}}));
  EXPECT_EQ(call("POST", "/v1/device/reports", encode(honest), {.certificate = device.certificate}).status,
            200);
  EXPECT_EQ(forged(2).status, 429);
  EXPECT_EQ(row().epoch, 2);
}

TEST_F(HostileDevices, CertificatesAreNotRenewedInALoop) {
  EXPECT_EQ(renew().status, 200);
  const auto again = renew();
  EXPECT_EQ(again.status, 429) << again.body;
  EXPECT_EQ(header(again, "Retry-After"), "60");
  clock.advance(1min);
  EXPECT_EQ(renew().status, 200);
}

}  // namespace
}  // namespace agenttask::server::test
