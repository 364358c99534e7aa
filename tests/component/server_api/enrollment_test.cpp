#include "platform/net/enrollment_token.hpp"
#include "tests/component/server_api/devices_fixture.hpp"

// Becoming a node, staying one, and being one no more.
namespace agenttask::server::test {
namespace {

class EnrolmentApi : public DevicesApi {};

TEST_F(EnrolmentApi, RevocationCutsAtOnce) {
  auto asked = poll_of(device);
  asked.wait = 55'000;
  polled(device, asked);
  const auto parked = request("POST", "/v1/device/poll", encode(asked), {.certificate = device.certificate});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(parked)));
  touched.clear();
  EXPECT_TRUE(ok("DELETE", "/v1/nodes/alpha").contains("revokedAt"));
  EXPECT_NE(std::find(touched.begin(), touched.end(), "node:" + device.id), touched.end());
  EXPECT_EQ(std::get<Response>(evaluate(parked)).status, 403);
  const json renewal = {
      {"request", net::CertificateRequest::make(net::PrivateKey::generate(), "x").to_pem()}};
  EXPECT_EQ(call("POST", "/v1/device/renew", renewal.dump(), {.certificate = device.certificate}).status,
            403);
  problem("POST", "/v1/nodes/" + device.id + "/tasks", {{"type", "echo"}}, 409, "node-revoked");
  problem("POST", "/v1/nodes/alpha/tasks", {{"type", "echo"}}, 404, "unknown-node");
  EXPECT_TRUE(ok("GET", "/v1/nodes")["nodes"].empty());
  ok("GET", "/v1/nodes/" + device.id);
}

TEST_F(EnrolmentApi, RevocationEndsWhatTheDeviceWillNeverReport) {
  const auto running = sent_task();
  report(device, {StartedReport{running, 1, 5}});
  const auto asked_to_stop = sent_task();
  ok("POST", "/v1/tasks/" + asked_to_stop + "/cancel", nullptr, 202);
  const auto done = sent_task();
  report(device, {StartedReport{done, 1, 5}, ended(done, TaskStatus::complete)});
  const auto waiting = add_task(device.id)["id"].get<std::string>();
  ok("PATCH", "/v1/nodes/alpha", {{"hold", true}}, 202);
  // Who waits for the end, and who follows the output.
  const auto waiter =
      request("GET", "/v1/tasks/" + running, "", {.token = admin, .query = {{"wait", "55000"}}});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(waiter)));
  auto follower = evaluate(
      request("GET", "/v1/tasks/" + running + "/output", "", {.token = admin, .query = {{"follow", "1"}}}));
  ASSERT_TRUE(std::holds_alternative<Stream>(follower));
  touched.clear();
  clock.advance(std::chrono::milliseconds(7));
  EXPECT_FALSE(ok("DELETE", "/v1/nodes/alpha").contains("holdRequested"));
  for (const auto& key : {"task:" + running, "output:" + running, "task:" + asked_to_stop, "task:" + waiting})
    EXPECT_NE(std::find(touched.begin(), touched.end(), key), touched.end()) << key;
  const auto answer = json::parse(std::get<Response>(evaluate(waiter)).body);
  EXPECT_EQ(answer["status"], "failed");
  EXPECT_EQ(answer["reason"], "interrupted");
  EXPECT_EQ(answer["endTime"], clock.wall());
  EXPECT_NE(answer["detail"].get<std::string>().find("revoked"), std::string::npos);
  EXPECT_EQ(answer["result"]["error"]["code"], "interrupted");
  const auto last = std::get<Stream>(follower).next(false);
  EXPECT_TRUE(last.complete);
  EXPECT_NE(last.bytes.find(R"("status":"failed")"), std::string::npos) << last.bytes;
  EXPECT_EQ(task(asked_to_stop)["status"], "failed");
  EXPECT_FALSE(task(asked_to_stop).contains("cancelRequestedAt"));
  EXPECT_EQ(task(waiting)["status"], "cancelled");
  EXPECT_EQ(task(done)["status"], "complete");
  // Nothing speaks of them any more, so that they are purged like others.
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    EXPECT_FALSE(writes.date_what_is_over(5, clock.wall(), 10));
    return {};
  }));
  EXPECT_EQ(store->read().value()->purgeable_tasks(6, 10).size(), 4U);
}

TEST_F(EnrolmentApi, ARevokedNodeThatIsReplacedLearnsWhatItsDeviceDid) {
  const auto id = sent_task();
  const auto token =
      ok("POST", "/v1/enrollment-tokens", {{"replace", "alpha"}}, 201)["token"].get<std::string>();
  ok("DELETE", "/v1/nodes/alpha");
  EXPECT_EQ(task(id)["status"], "failed");
  const auto response = post_enroll(token, net::PrivateKey::generate(), "alpha");
  ASSERT_EQ(response.status, 200) << response.body;
  const auto certificate =
      net::Certificate::from_pem(json::parse(response.body)["certificate"].get<std::string>()).value();
  const EnrolledDevice again{device.id, {certificate.fingerprint(), device.id, false}};
  const auto epoch = polled(again, poll_of(again, {}, 1)).epoch;
  ReportBatch batch{protocol_version(), epoch, poll_of(again).incarnation, {}, {}};
  Task held;
  held.spec.id = id;
  held.spec.node_id = device.id;
  held.spec.type = "echo";
  held.state.status = TaskStatus::complete;
  held.state.run_count = 1;
  batch.lines = {encode(
      Report{1, CreatedReport{held, {agenttask::Run{id, 1, RunStatus::complete, "", 5, 6, "{}"}}, true}})};
  EXPECT_EQ(call("POST", "/v1/device/reports", encode(batch), {.certificate = again.certificate}).status,
            200);
  EXPECT_EQ(task(id)["status"], "complete");
}

TEST_F(EnrolmentApi, CertificatesAreChecked) {
  EXPECT_EQ(call("POST", "/v1/device/poll", encode(poll_of(device))).status, 401);
  auto stranger = device.certificate;
  stranger.fingerprint = std::string(64, 'a');
  EXPECT_EQ(call("POST", "/v1/device/poll", encode(poll_of(device)), {.certificate = stranger}).status, 403);
  auto another = device.certificate;
  another.node_id = enroll("beta").id;
  EXPECT_EQ(call("POST", "/v1/device/poll", encode(poll_of(device)), {.certificate = another}).status, 403);
  auto expired = device.certificate;
  expired.expires_at = clock.wall() - 1;
  const auto refused = call("POST", "/v1/device/poll", encode(poll_of(device)), {.certificate = expired});
  EXPECT_EQ(json::parse(refused.body)["code"], "certificate-expired");
  const json renewal = {
      {"request", net::CertificateRequest::make(net::PrivateKey::generate(), "x").to_pem()}};
  const auto renewed = call("POST", "/v1/device/renew", renewal.dump(), {.certificate = expired});
  ASSERT_EQ(renewed.status, 200);
  const auto fresh =
      net::Certificate::from_pem(json::parse(renewed.body)["certificate"].get<std::string>()).value();
  EXPECT_EQ(fresh.common_name(), device.id);
  polled({device.id, {fresh.fingerprint(), device.id, false}}, poll_of(device));
  EXPECT_EQ(
      call("POST", "/v1/device/renew", R"({"request":"x"})", {.certificate = device.certificate}).status,
      400);
}

TEST_F(EnrolmentApi, EnrolmentIsRepeatableBoundedAndExpires) {
  const auto made =
      ok("POST", "/v1/enrollment-tokens", {{"uses", 2}, {"ttl", 60'000}, {"labels", {{"room", "7"}}}}, 201);
  const auto token = made["token"].get<std::string>();
  const auto key = net::PrivateKey::generate();
  const auto first = post_enroll(token, key, "gamma");
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_EQ(post_enroll(token, key, "gamma").body, first.body);
  const auto id = json::parse(first.body)["nodeId"].get<std::string>();
  EXPECT_EQ(ok("GET", "/v1/nodes/" + id)["labels"], (json{{"room", "7"}}));
  EXPECT_EQ(post_enroll(token, net::PrivateKey::generate(), "delta").status, 200);
  EXPECT_EQ(post_enroll(token, net::PrivateKey::generate(), "epsilon").status, 403);
  EXPECT_EQ(post_enroll(token, key, "gamma").body, first.body);
  EXPECT_EQ(ok("GET", "/v1/enrollment-tokens")["enrollmentTokens"][0]["used"], 2);
  const auto brief = ok("POST", "/v1/enrollment-tokens", {{"ttl", 1000}}, 201)["token"].get<std::string>();
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(post_enroll(brief, net::PrivateKey::generate(), "zeta").status, 403);
  ok("DELETE", "/v1/enrollment-tokens/" + made["id"].get<std::string>());
  EXPECT_EQ(post_enroll(token, key, "gamma").status, 403);
  problem("DELETE", "/v1/enrollment-tokens/" + made["id"].get<std::string>(), nullptr, 404, "unknown-token");
  const auto unknown = net::encode(net::make_enrollment_token(authority->authority_fingerprint()));
  EXPECT_EQ(post_enroll(unknown, key, "gamma").status, 403);
  EXPECT_EQ(post_enroll("nonsense", key, "gamma").status, 400);
  EXPECT_EQ(post_enroll(unknown, key, "").status, 400);
  EXPECT_EQ(call("GET", "/v1/authority").body, authority->authority_pem());
}

TEST_F(EnrolmentApi, AReplacementTakesTheNodeAndWhatWasNeverOffered) {
  const auto offered = sent_task();
  const auto waiting = add_task(device.id)["id"].get<std::string>();
  const auto token =
      ok("POST", "/v1/enrollment-tokens", {{"replace", "alpha"}}, 201)["token"].get<std::string>();
  const auto response = post_enroll(token, net::PrivateKey::generate(), "alpha");
  ASSERT_EQ(response.status, 200) << response.body;
  const auto answer = json::parse(response.body);
  EXPECT_EQ(answer["nodeId"], device.id);
  EXPECT_EQ(task(offered)["status"], "failed");
  EXPECT_EQ(task(offered)["reason"], "interrupted");
  EXPECT_EQ(std::get<Response>(poll(device, poll_of(device))).status, 403);
  const auto certificate = net::Certificate::from_pem(answer["certificate"].get<std::string>()).value();
  const EnrolledDevice fresh{device.id, {certificate.fingerprint(), device.id, false}};
  EXPECT_TRUE(polled(fresh, poll_of(fresh, {}, 0)).resync);
  const auto directives = polled(fresh, poll_of(fresh, {}, 2));
  ASSERT_EQ(directives.lines.size(), 1U);
  EXPECT_EQ(json::parse(directives.lines[0])["task"]["id"], waiting);
}

}  // namespace
}  // namespace agenttask::server::test
