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

}  // namespace
}  // namespace agenttask::server::test
