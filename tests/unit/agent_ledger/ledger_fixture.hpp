#pragma once
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "agent/ledger/ledger.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/message.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {

/// A ledger in a folder of its own, the directives of a server, and what the device reports to it.
class LedgerFixture : public testing::Test {
 protected:
  LedgerFixture() { reopen(); }

  void reopen(const std::string& boot_id = "boot-1") {
    subscription_.reset();
    ledger_.reset();
    options_.boot_id = boot_id;
    options_.fraction = [] { return 0.5; };
    auto opened = Ledger::open(folder_.path() / "ledger.db", clock_, options_);
    ASSERT_TRUE(opened) << opened.error().message;
    ledger_ = std::move(*opened);
    subscription_ = ledger_->subscribe([this](const LedgerChange& change) { changes_.push_back(change); });
  }

  // ---- the server's side

  /// A server that knows the device: everything is reported from now on.
  void meet_server(std::int64_t epoch = 1) { meet("node-1", epoch); }
  void meet(const std::string& node, std::int64_t epoch) {
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = epoch;
    answer.resync = true;
    epoch_ = epoch;
    ASSERT_TRUE(ledger_->adopt_node(node));
    directives_ = {};
    const auto received = ledger_->receive(answer);
    ASSERT_TRUE(received) << received.error().message;
    EXPECT_TRUE(received->resynced);
  }

  template <class Body>
  std::string line(Body body) {
    return encode(Directive{directives_.sequence + 1, std::move(body)});
  }
  /// The answer with these directives, numbered and chained as a server does it.
  template <class... Bodies>
  PollAnswer offer(Bodies... bodies) {
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = epoch_;
    answer.after = directives_;
    const auto add = [&](auto body) {
      answer.lines.push_back(line(std::move(body)));
      directives_ = agenttask::advance(directives_, answer.lines.back());
    };
    (add(std::move(bodies)), ...);
    return answer;
  }
  Received receive(const PollAnswer& answer) {
    auto received = ledger_->receive(answer);
    EXPECT_TRUE(received) << received.error().message;
    return received ? *received : Received{};
  }
  template <class... Bodies>
  Received deliver(Bodies... bodies) {
    return receive(offer(std::move(bodies)...));
  }

  static TaskSpec spec(std::string type = "echo") {
    TaskSpec spec;
    spec.node_id = "node-1";
    spec.type = std::move(type);
    spec.data = R"({"message":"hello"})";
    return spec;
  }
  TaskDirective task(const std::string& id, TaskSpec what = spec()) {
    what.id = id;
    return {std::move(what), clock_.wall()};
  }
  static std::string id(int number) {
    std::string digits = std::to_string(number);
    return "00000000-0000-7000-8000-" + std::string(12 - digits.size(), '0') + digits;
  }

  // ---- the device's side

  std::vector<Report> reports() {
    std::vector<Report> reports;
    auto batch = ledger_->pending_reports(100'000, SIZE_MAX);
    EXPECT_TRUE(batch);
    Cursor cursor = batch->after;
    for (const auto& text : batch->lines) {
      auto report = decode_report(text);
      EXPECT_TRUE(report) << text;
      if (!report) continue;
      EXPECT_EQ(cursor.sequence + 1, report->sequence);
      cursor = agenttask::advance(cursor, text);
      reports.push_back(std::move(*report));
    }
    EXPECT_EQ(cursor, ledger_->status()->reports);
    return reports;
  }
  template <class Body>
  std::vector<Body> reports_of() {
    std::vector<Body> found;
    for (auto& report : reports()) {
      if (auto* body = std::get_if<Body>(&report.body)) found.push_back(std::move(*body));
    }
    return found;
  }
  /// The server stores everything that waits.
  void acknowledge_all() {
    ReportAnswer answer;
    answer.epoch = epoch_;
    answer.reports = ledger_->status()->reports;
    ASSERT_TRUE(ledger_->acknowledge(answer));
  }

  Task get(const std::string& id) {
    auto task = ledger_->get(id);
    EXPECT_TRUE(task) << task.error().message;
    return task ? *task : Task{};
  }
  std::string create(TaskSpec what = spec()) {
    auto created = ledger_->create(std::move(what));
    EXPECT_TRUE(created) << created.error().message;
    return created ? created->task.spec.id : std::string();
  }
  StartedRun start(const std::string& id) {
    auto answer = ledger_->start(id);
    EXPECT_TRUE(answer) << answer.error().message;
    EXPECT_TRUE(answer->run) << "not startable: " << answer->reason;
    return answer->run.value_or(StartedRun{});
  }
  Task end(const std::string& id, std::int64_t run, const RunOutcome& outcome,
           const ChunkSource& output = {}) {
    auto task = ledger_->end(id, run, outcome, output);
    EXPECT_TRUE(task) << task.error().message;
    return task ? *task : Task{};
  }
  static RunOutcome success() { return {RunStatus::complete, "", "", R"({"data":{},"success":true})"}; }
  static RunOutcome failure(std::string_view reason) {
    return {RunStatus::failed, std::string(reason), "detail", R"({"data":{},"success":false})"};
  }
  static ChunkSource chunks(std::vector<OutputChunk> list) {
    return [list = std::move(list), next = std::size_t{0}]() mutable -> std::optional<OutputChunk> {
      return next < list.size() ? std::optional(list[next++]) : std::nullopt;
    };
  }
  std::vector<std::string> ready_ids() {
    std::vector<std::string> ids;
    const auto tasks = ledger_->ready(std::nullopt, 1000);
    EXPECT_TRUE(tasks);
    for (const auto& one : *tasks) ids.push_back(one.id);
    return ids;
  }

  test::TemporaryFolder folder_;
  test::ManualClock clock_;
  LedgerOptions options_;
  std::unique_ptr<Ledger> ledger_;
  std::vector<LedgerChange> changes_;
  std::shared_ptr<void> subscription_;
  std::int64_t epoch_ = 1;
  Cursor directives_;  ///< as the server computed it
};

}  // namespace agenttask::agent
