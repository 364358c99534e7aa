#pragma once
#include <string>

#include "tests/component/server_api/api_fixture.hpp"

namespace agenttask::server::test {

/// One device that enrolled, and what it takes and reports.
class DevicesApi : public ApiTest {
 protected:
  DevicesApi() { device = enroll("alpha"); }
  json task(const std::string& id) { return ok("GET", "/v1/tasks/" + id); }
  json task(const json& given) { return task(given["id"].get<std::string>()); }
  json node() { return ok("GET", "/v1/nodes/" + device.id); }
  /// Takes all directives and acknowledges them.
  void deliver() {
    cursor = after(polled(device, poll_of(device, cursor)));
    polled(device, poll_of(device, cursor));
  }
  std::string sent_task() {
    auto id = add_task(device.id)["id"].get<std::string>();
    deliver();
    return id;
  }
  static EndedReport ended(const std::string& id, TaskStatus status, std::int64_t run = 1) {
    TaskState state;
    state.status = status;
    state.end_time = 6;
    const auto run_status = status == TaskStatus::complete ? RunStatus::complete : RunStatus::failed;
    return {id, agenttask::Run{id, run, run_status, "", 5, 6, R"({"success":true,"data":{}})"}, state};
  }
  EnrolledDevice device;
  Cursor cursor;
};

}  // namespace agenttask::server::test
