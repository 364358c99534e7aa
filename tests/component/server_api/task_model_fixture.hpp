#pragma once
#include <string>
#include <vector>

#include "tests/component/server_api/devices_fixture.hpp"

namespace agenttask::server::test {

/// Tasks that recur and tasks that ask, on one device that reports as the agent does.
class TaskModelApi : public DevicesApi {
 protected:
  TaskModelApi() { report(device, {SnapshotEndReport{0}}); }

  static std::string path(const std::string& id, const std::string& more = {}) {
    return "/v1/tasks/" + id + more;
  }
  static std::string text_of(const json& value) { return value.get<std::string>(); }
  static std::int64_t number_of(const json& directive) { return directive["sequence"].get<std::int64_t>(); }
  static json question() {
    return {{"type", "echo"},
            {"choices", {{{"name", "confirm"}, {"description", "Go on"}}, {{"name", "revise"}}}},
            {"metadata", {{"kept", 1}}}};
  }
  static json every_minute() { return {{"type", "echo"}, {"schedule", {{"updateInterval", 60'000}}}}; }
  std::string added(const json& body) { return add_task(device.id, body)["id"].get<std::string>(); }

  /// The task as the device shows it in its reports.
  Task held(const std::string& id, TaskStatus status) {
    auto record = store->read().value()->task(id, WithData::no).value();
    record.task.state.status = status;
    record.task.state.reason.clear();
    record.task.state.detail.clear();
    record.task.state.choice_requested.reset();
    return record.task;
  }
  void report_changed(const Task& task) { report(device, {ChangedReport{task}}); }
  /// A task that the device has and that waits for an answer.
  std::string asking(std::int64_t occurrence = 0, json body = question()) {
    auto id = added(body);
    deliver();
    auto task = held(id, TaskStatus::awaiting_choice);
    task.state.occurrence = occurrence;
    report_changed(task);
    EXPECT_EQ(this->task(id)["status"], "awaiting_choice");
    return id;
  }
  void report_chosen(const std::string& id, const std::string& option, const std::string& by,
                     std::int64_t occurrence = 0) {
    auto state = held(id, TaskStatus::sent).state;
    state.chosen = ChoiceMade{option, by, clock.wall()};
    state.occurrence = occurrence;
    report(device, {ChosenReport{id, state}});
  }
  /// A run of a task that goes on to wait for its next occurrence.
  void run_once(const std::string& id, std::int64_t run, std::int64_t occurrence,
                const std::string& option = {}, TaskStatus to = TaskStatus::sent) {
    auto state = held(id, to).state;
    state.occurrence = occurrence;
    state.run_count = run;
    if (to == TaskStatus::sent) {
      state.reason = reason::kNotDue;
      state.next_run_at = clock.wall() + 60'000;
    }
    report(device,
           {StartedReport{id, run, clock.wall(), occurrence, option},
            EndedReport{id,
                        agenttask::Run{id, run, RunStatus::complete, "", clock.wall(), clock.wall() + 1,
                                       R"({"success":true,"data":{}})", occurrence, option},
                        state}});
  }
  /// What is on its way to the device, taken.
  std::vector<json> directives() {
    const auto answer = polled(device, poll_of(device, cursor));
    cursor = after(answer);
    std::vector<json> lines;
    for (const auto& line : answer.lines) lines.push_back(json::parse(line));
    return lines;
  }
  /// The device's next poll acknowledges all.
  void acknowledge() { polled(device, poll_of(device, cursor)); }
};

}  // namespace agenttask::server::test
