#pragma once
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/ledger/ledger.hpp"
#include "agent/sync/sync.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/protocol/message.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/unit/agent_sync/fake_link.hpp"

namespace agenttask::agent {

/// A device with a real ledger and a server that the test plays.
class SyncFixture : public testing::Test {
 protected:
  static constexpr const char* kUrl = "https://tasks.example:8443";
  static constexpr DurationMilliseconds kDay = test::TestAuthority::kDay;

  SyncFixture() {
    options.version = "1.2.3";
    options.platform = "linux-test";
    options.own_name = [this] { return host_name; };
    options.fraction = [this] { return fraction; };
    link.authority_pem = authority.pem();
    start();
  }

  /// The agent starts, again: as after a crash.
  void start() {
    sync.reset();
    ledger.reset();
    auto opened = Ledger::open(folder.path() / "ledger.db", clock);
    ASSERT_TRUE(opened) << opened.error().message;
    ledger = *std::move(opened);
    for (const auto call :
         {ServerCall::poll, ServerCall::reports, ServerCall::output, ServerCall::renew, ServerCall::enroll}) {
      link.abandon(call);
    }
    sync = std::make_unique<Sync>(
        *ledger, link, IdentityFolder(folder.path()),
        [this](std::string_view task, std::int64_t after) { return follow(std::string(task), after); }, clock,
        log, options);
  }
  virtual Result<std::unique_ptr<Follower>> follow(const std::string&, std::int64_t) {
    return Error{ErrorCode::not_found, "no such task"};
  }

  /// The device is a node already, with a certificate in the middle of the first half of its life.
  void be_node(const std::string& node = "node-1") {
    const auto key = net::PrivateKey::generate();
    const auto certificate =
        net::issue(authority.certificate(), authority.key(), net::CertificateRequest::make(key, "x"),
                   {node, {}, net::CertificatePurpose::client, clock.wall() - kDay, clock.wall() + 5 * kDay});
    ASSERT_TRUE(
        IdentityFolder(folder.path())
            .keep({kUrl, node, "name-1", key.to_pem(), certificate->to_pem(), authority.pem(), "digest"}));
    sync->wake();
    start();
  }

  std::chrono::milliseconds step() { return sync->step(); }
  std::chrono::milliseconds pass(std::chrono::milliseconds time) {
    clock.advance(time);
    return step();
  }

  PollRequest poll() { return decode_poll_request(link.get(ServerCall::poll).body).value(); }
  ReportBatch reports() { return decode_report_batch(link.get(ServerCall::reports).body).value(); }

  /// The server answers a poll with directives, after those it has sent before.
  void answer_poll(std::vector<std::string> lines = {}, std::vector<std::string> watch = {}) {
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = epoch;
    answer.time = clock.wall() - 250;
    answer.after = poll().directives;
    answer.watch = std::move(watch);
    answer.lines = std::move(lines);
    link.answer(ServerCall::poll, 200, encode(answer));
    static_cast<void>(step());
  }
  void answer_resync() {
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = ++epoch;
    answer.resync = true;
    answer.time = clock.wall();
    link.answer(ServerCall::poll, 200, encode(answer));
    static_cast<void>(step());
  }
  /// The server has stored all reports of the batch under way.
  void answer_reports() {
    const ReportBatch batch = reports();
    Cursor cursor = batch.after;
    for (const auto& line : batch.lines) cursor = agenttask::advance(cursor, line);
    ReportAnswer answer;
    answer.epoch = epoch;
    answer.reports = cursor;
    link.answer(ServerCall::reports, 200, encode(answer));
    static_cast<void>(step());
  }
  /// A node that has had its first exchange with the server and waits in a held poll.
  void be_connected() {
    be_node();
    step();
    answer_resync();
    answer_reports();
    if (poll().wait == 0) answer_poll();
    ASSERT_TRUE(link.has(ServerCall::poll));
    ASSERT_GT(poll().wait, 0);
    ASSERT_FALSE(link.has(ServerCall::reports));
  }
  static std::string task_line(std::int64_t sequence, const std::string& id) {
    TaskDirective directive;
    directive.spec.id = id;
    directive.spec.node_id = "node-1";
    directive.spec.type = "echo";
    directive.add_time = test::ManualClock::kStart;
    return encode(Directive{sequence, directive});
  }

  test::TemporaryFolder folder;
  test::ManualClock clock;
  test::TestAuthority authority{test::ManualClock::kStart};
  Logger log{LogLevel::error, LogFormat::text};
  FakeLink link;
  SyncOptions options;
  double fraction = 0.5;
  std::string host_name = "host-1";
  std::int64_t epoch = 0;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Sync> sync;
};

}  // namespace agenttask::agent
