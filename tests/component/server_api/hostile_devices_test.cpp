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

class LiveOutputApi : public HostileDevices {
 protected:
  LiveOutputApi() {
    const json body = {{"type", "command"}, {"data", {{"cmd", "x"}}}};
    id = add_task(device.id, body)["id"].get<std::string>();
    deliver();
    report(device, {StartedReport{id, 1, 5}});
    follower = live.follow(device.id, id);
  }
  static json chunk(std::int64_t offset, const std::string& text) {
    return {{"stream", "stdout"}, {"offset", offset}, {"text", text}};
  }
  Response send(std::int64_t run, const json& chunks) {
    const json body = {{"taskId", id}, {"run", run}, {"chunks", chunks}};
    return call("POST", "/v1/device/output", body.dump(), {.certificate = device.certificate});
  }
  Stream follow() {
    auto outcome = evaluate(
        request("GET", "/v1/tasks/" + id + "/output", "", {.token = admin, .query = {{"follow", "1"}}}));
    return std::get<Stream>(std::move(outcome));
  }
  static std::vector<json> lines(const std::string& bytes) {
    std::vector<json> found;
    std::size_t at = 0;
    for (auto end = bytes.find('\n'); end != std::string::npos; end = bytes.find('\n', at)) {
      found.push_back(json::parse(bytes.substr(at, end - at)));
      at = end + 1;
    }
    return found;
  }
  std::string id;
  std::unique_ptr<OutputFollower> follower;
};

TEST_F(LiveOutputApi, OnlyBytesOfTheRunThatGoesOnPass) {
  send(1, json::array({chunk(0, "a"), chunk(1, ""), chunk(1, "b")}));
  EXPECT_EQ(follower->take().size(), 2U);
  // Its start may be on its way, beside this.
  send(2, json::array({chunk(0, "c")}));
  EXPECT_EQ(follower->take().size(), 1U);
  for (const std::int64_t run : {std::int64_t{3}, INT64_MAX}) {
    EXPECT_EQ(json::parse(send(run, json::array({chunk(0, "d")})).body)["watched"], true);
  }
  EXPECT_TRUE(follower->take().empty());
  const auto past = send(1, json::array({chunk(INT64_MAX, "e")}));
  EXPECT_EQ(past.status, 400);
  EXPECT_EQ(json::parse(past.body)["field"], "chunks.offset");
}

TEST_F(LiveOutputApi, ARunWithANumberFromNowhereIsFollowedLikeAnyOther) {
  const json every_minute = {{"type", "echo"}, {"schedule", {{"updateInterval", 60'000}}}};
  id = add_task(device.id, every_minute)["id"].get<std::string>();
  deliver();
  auto stream = follow();
  report(device, {StartedReport{id, INT64_MAX, clock.wall(), 1, {}},
                  OutputReport{id, INT64_MAX, {OutputStream::standard_output, 0, "a"}}});
  EXPECT_EQ(lines(stream.next(false).bytes).at(0)["text"], "a");
  send(INT64_MAX, json::array({chunk(1, "b")}));
  EXPECT_EQ(lines(stream.next(false).bytes).at(0)["text"], "b");
}

TEST_F(LiveOutputApi, WhatIsFollowedInCrumbsIsFilledInFromWhatIsKept) {
  auto stream = follow();
  constexpr std::int64_t kCrumbs = 6000;
  std::vector<json> seen;
  const auto read = [&] {
    for (bool more = true; more;) {
      auto piece = stream.next(false);
      for (auto& line : lines(piece.bytes)) seen.push_back(std::move(line));
      more = piece.more;
    }
  };
  for (std::int64_t i = 0; i < kCrumbs; i += 1000) {
    json crumbs = json::array();
    for (std::int64_t n = i; n < i + 1000; ++n) crumbs.push_back(chunk(2 * n, "x"));
    send(1, crumbs);
    read();
  }
  EXPECT_LE(seen.size(), 4096U);
  report(device, {OutputReport{id, 1, {OutputStream::standard_output, 0, std::string(2 * kCrumbs, 'x')}},
                  ended(id, TaskStatus::complete)});
  read();
  ASSERT_TRUE(seen.back().contains("end"));
  seen.pop_back();
  std::vector<int> times(2 * kCrumbs, 0);
  for (const auto& line : seen) {
    const auto offset = line["offset"].get<std::size_t>();
    for (std::size_t i = 0; i < line["text"].get<std::string>().size(); ++i) ++times.at(offset + i);
  }
  EXPECT_EQ(std::count(times.begin(), times.end(), 1), 2 * kCrumbs);
}

}  // namespace
}  // namespace agenttask::server::test
