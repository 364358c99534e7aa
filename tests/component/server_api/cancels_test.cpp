#include "tests/component/server_api/task_model_fixture.hpp"

// A cancel that the device took and whose end nobody heard of can be asked for again.
namespace agenttask::server::test {
namespace {

class CancelsApi : public TaskModelApi {
 protected:
  std::string running() {
    auto id = added(every_minute());
    deliver();
    report(device, {StartedReport{id, 1, clock.wall(), 1, {}}});
    return id;
  }
  json cancel(const std::string& id) { return ok("POST", path(id, "/cancel"), nullptr, 202); }
  std::vector<json> cancels() {
    auto lines = directives();
    std::erase_if(lines, [](const json& line) { return line["kind"] != "cancel"; });
    return lines;
  }
};

TEST_F(CancelsApi, OneThatTheDeviceTookIsAskedForAgain) {
  const auto id = running();
  cancel(id);
  cancel(id);
  EXPECT_EQ(cancels().size(), 1U) << "it waits to be taken";
  cancel(id);
  EXPECT_EQ(cancels().size(), 0U) << "it may be on its way";
  acknowledge();
  clock.advance(std::chrono::seconds(1));
  cancel(id);
  EXPECT_EQ(cancels().size(), 1U);
}

TEST_F(CancelsApi, OneThatWaitsAsksOnce) {
  const auto id = running();
  auto asked = request("POST", path(id, "/cancel"), "", {.token = admin, .query = {{"wait", "5000"}}});
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(asked)));
  EXPECT_EQ(cancels().size(), 1U);
  acknowledge();
  clock.advance(std::chrono::seconds(1));
  ASSERT_TRUE(std::holds_alternative<Wait>(evaluate(asked)));
  EXPECT_EQ(cancels().size(), 0U);
}

TEST_F(CancelsApi, AfterADeleteThatWaitsNobodyIsAsked) {
  const auto id = running();
  ok("DELETE", path(id), nullptr, 202);
  cancel(id);
  EXPECT_EQ(cancels().size(), 0U);
}

TEST_F(CancelsApi, ADeletionThatTheDeviceTookIsStillAskedUntilItsTaskHasEnded) {
  const auto id = running();
  ok("DELETE", path(id), nullptr, 202);
  directives();
  acknowledge();
  const auto again = ok("DELETE", path(id), nullptr, 202);
  EXPECT_EQ(again["status"], "running");
  EXPECT_TRUE(again.contains("deletedAt"));
  EXPECT_EQ(directives().size(), 0U);
}

TEST_F(CancelsApi, ARefusalOfSomethingElseDoesNotTakeItBack) {
  const auto id = running();
  cancel(id);
  ok("POST", path(id, "/run"), nullptr, 202);
  const auto lines = directives();
  ASSERT_EQ(lines.size(), 2U);
  acknowledge();
  report(device, {RefusedReport{number_of(lines[1]), id, "conflict", "it runs"}});
  EXPECT_TRUE(task(id).contains("cancelRequestedAt"));
}

TEST_F(CancelsApi, ASnapshotSaysWhetherTheDeviceKnowsOfIt) {
  const auto stopped = running();
  const auto reverted = running();
  for (const auto& id : {stopped, reverted}) cancel(id);
  EXPECT_EQ(cancels().size(), 2U);
  acknowledge();
  // The machine was put back to before it took the one, and not the other.
  const auto epoch = polled(device, poll_of(device, {}, 2)).epoch;
  auto known = held(stopped, TaskStatus::running);
  known.state.cancel_requested_at = 7;
  auto unknown = held(reverted, TaskStatus::sent);
  unknown.state.cancel_requested_at.reset();
  ReportBatch batch{protocol_version(), epoch, "incarnation-" + device.id, {}, {}};
  std::int64_t sequence = 0;
  for (const auto& task : {known, unknown})
    batch.lines.push_back(encode(Report{++sequence, CreatedReport{task, {}, true}}));
  batch.lines.push_back(encode(Report{++sequence, SnapshotEndReport{2}}));
  const auto taken = call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate});
  ASSERT_EQ(taken.status, 200) << taken.body;
  EXPECT_TRUE(task(stopped).contains("cancelRequestedAt"));
  EXPECT_EQ(task(reverted)["status"], "sent");
  EXPECT_FALSE(task(reverted).contains("cancelRequestedAt"));
}

}  // namespace
}  // namespace agenttask::server::test
