#include <future>

#include "platform/base/ids.hpp"
#include "tests/component/server_api/devices_fixture.hpp"

// What a device can make the server keep, and what its reports are read as.
namespace agenttask::server::test {
namespace {

TEST_F(DevicesApi, OrphansAreBoundedByBytesAndByNumber) {
  const DeviceBudget promised;  // docs/decisions.md
  EXPECT_EQ(promised.orphans, 10'000);
  EXPECT_EQ(promised.orphan_bytes, 64 * 1024 * 1024);
  HistoryLimits limits;
  limits.device.orphans = 50;
  limits.device.orphan_bytes = 32 * 1024;
  route(limits);
  constexpr int kSent = 80;
  /// What is kept of the reports that a device sends about no task of anybody.
  const auto keeps = [&](const EnrolledDevice& from, const std::string& bytes) {
    const OutputReport unknown{make_uuid(1), 1, {OutputStream::standard_output, 0, bytes}};
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(report(from, std::vector<decltype(Report::body)>(kSent / 4, unknown)).status, 200);
    }
    const auto lease = store->read().value();
    const auto totals = lease->device_totals(from.id);
    EXPECT_EQ(static_cast<std::int64_t>(lease->orphans(from.id).size()), totals.orphans);
    return totals;
  };
  // A byte that JSON writes as six: what counts is what is stored.
  const auto large = keeps(device, std::string(180, '\x01'));
  EXPECT_LE(large.orphan_bytes, limits.device.orphan_bytes);
  EXPECT_GT(large.orphan_bytes, limits.device.orphan_bytes - 2000);
  EXPECT_LT(large.orphans, limits.device.orphans);
  const auto small = keeps(enroll("beta"), "x");
  EXPECT_EQ(small.orphans, limits.device.orphans);
  EXPECT_LT(small.orphan_bytes, limits.device.orphan_bytes);
}

TEST_F(DevicesApi, AnEndWithTooManyWordsIsAnEnd) {
  const auto id = sent_task();
  auto end = ended(id, TaskStatus::failed);
  end.run->reason = end.state.reason = std::string(70, 'r');
  end.state.detail = std::string(1'000'000, 'd');
  report(device, {StartedReport{id, 1, 5}, end});
  const auto shown = task(id);
  EXPECT_EQ(shown["status"], "failed");
  EXPECT_FALSE(shown.contains("reason"));
  const auto detail = shown["detail"].get<std::string>();
  EXPECT_LE(detail.size(), 4096U);
  EXPECT_TRUE(detail.starts_with("the reason given is none: rrr")) << detail;
  EXPECT_NE(detail.find("… [cut; it had "), std::string::npos) << detail;
  EXPECT_EQ(ok("GET", "/v1/tasks/" + id + "/runs")["runs"][0]["status"], "failed");
}

TEST_F(DevicesApi, ReportsAreReadOnceAndNotOnTheWriter) {
  const auto id = sent_task();
  ReportBatch batch{protocol_version(), 1, "incarnation-" + device.id, report_cursors[device.id], {}};
  batch.lines = {encode(Report{1, StartedReport{id, 1, 5}}),
                 encode(Report{2, ended(id, TaskStatus::complete)})};
  const auto asked =
      request("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate});
  auto needed = std::get<NeedsWrite>(router->read(*asked));
  ASSERT_TRUE(needed.prepared);
  asked->prepared = std::move(needed.prepared);
  asked->body = "gone";
  std::promise<int> status;
  ASSERT_TRUE(writer->submit(router->job(
      asked, [&](const Outcome& outcome) { status.set_value(std::get<Response>(outcome).status); })));
  EXPECT_EQ(status.get_future().get(), 200);
  EXPECT_EQ(task(id)["status"], "complete");
  // Nothing that another handler read is taken for a batch.
  asked->prepared = std::make_shared<Prepared>();
  EXPECT_EQ(std::get<Response>(router->read(*asked)).status, 400);
}

TEST_F(DevicesApi, WhatADeviceMakesIsCountedWithItsOutput) {
  Task local;
  local.spec.id = make_uuid(2);
  local.spec.node_id = device.id;
  local.spec.type = "echo";
  local.state.status = TaskStatus::running;
  local.state.run_count = 1;
  report(device,
         {CreatedReport{local, {agenttask::Run{local.spec.id, 1, RunStatus::running, "", 5, {}, ""}}},
          OutputReport{local.spec.id, 1, {OutputStream::standard_output, 0, std::string(1000, 'x')}}});
  const auto totals = store->read().value()->device_totals(device.id);
  EXPECT_EQ(totals.tasks, 1);
  EXPECT_GT(totals.task_bytes, 1000);
  EXPECT_LT(totals.task_bytes, 3000);
}

}  // namespace
}  // namespace agenttask::server::test
