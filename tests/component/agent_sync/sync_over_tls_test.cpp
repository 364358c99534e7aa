#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <thread>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/ledger/ledger.hpp"
#include "agent/sync/sync.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/os/system_clock.hpp"
#include "platform/protocol/message.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/tls_server.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;
using test::TlsServer;

constexpr const char* kTask = "11111111-1111-4111-8111-111111111111";

/// A server that gives out one task and stores reports, over real TLS.
class SmallServer {
 public:
  explicit SmallServer(UnixMilliseconds now) : authority(now), now_(now) {
    server =
        std::make_unique<TlsServer>(TlsServer::Settings{.credentials = authority.server(now),
                                                        .client_authority = authority.pem(),
                                                        .client_optional = true},
                                    [this](const TlsServer::Request& request) { return answer(request); });
  }
  ~SmallServer() {
    release();
    server.reset();
  }
  SmallServer(const SmallServer&) = delete;
  SmallServer& operator=(const SmallServer&) = delete;

  [[nodiscard]] std::string token() const {
    return net::encode({std::string(24, 's'), authority.certificate().fingerprint_bytes()});
  }
  /// Waits until `met`, which is asked after each call.
  bool await(const std::function<bool()>& met) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), met);
  }
  void release() {
    const std::scoped_lock lock(mutex);
    over = true;
    changed.notify_all();
  }

  test::TestAuthority authority;
  std::unique_ptr<TlsServer> server;
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  bool poll_held = false;
  bool acknowledged = false;
  std::string polled_by;
  std::vector<std::string> reports;

 private:
  std::string answer(const TlsServer::Request& request) {
    std::unique_lock lock(mutex);
    if (request.line.starts_with("GET /v1/authority ")) return TlsServer::answer(200, authority.pem());
    if (request.line.starts_with("POST /v1/enroll ")) return enroll(json::parse(request.body));
    if (request.line.starts_with("POST /v1/device/poll ")) return poll(lock, request);
    if (request.line.starts_with("POST /v1/device/reports ")) return store(request.body);
    return TlsServer::answer(404, "");
  }
  std::string enroll(const json& body) {
    const auto parsed = net::CertificateRequest::from_pem(body.at("request").get<std::string>()).value();
    const auto certificate =
        net::issue(
            authority.certificate(), authority.key(), parsed,
            {"node-1", {}, net::CertificatePurpose::client, now_ - 3'600'000, now_ + 86'400'000LL * 90})
            .value();
    return TlsServer::answer(200, json{{"nodeId", "node-1"},
                                       {"name", body.at("name")},
                                       {"certificate", certificate.to_pem()},
                                       {"authority", authority.pem()}}
                                      .dump());
  }
  std::string poll(std::unique_lock<std::mutex>& lock, const TlsServer::Request& request) {
    const PollRequest asked = decode_poll_request(request.body).value();
    polled_by = request.client;
    PollAnswer answer;
    answer.protocol = protocol_version();
    answer.epoch = 1;
    answer.resync = asked.epoch == 0;
    answer.time = now_;
    acknowledged = asked.directives.sequence == 1;
    if (!answer.resync && !acknowledged) {
      TaskDirective directive;
      directive.spec.id = kTask;
      directive.spec.node_id = "node-1";
      directive.spec.type = "echo";
      directive.add_time = now_;
      answer.lines.push_back(encode(Directive{1, directive}));
    } else if (asked.wait > 0) {
      poll_held = true;
      changed.notify_all();
      changed.wait(lock, [this] { return over; });
    }
    changed.notify_all();
    return TlsServer::answer(200, encode(answer));
  }
  std::string store(const std::string& body) {
    const ReportBatch batch = decode_report_batch(body).value();
    ReportAnswer answer;
    answer.epoch = 1;
    answer.reports = batch.after;
    for (const auto& line : batch.lines) {
      reports.push_back(line);
      answer.reports = agenttask::advance(answer.reports, line);
    }
    changed.notify_all();
    return TlsServer::answer(200, encode(answer));
  }

  UnixMilliseconds now_;
};

struct SyncOverTlsTest : testing::Test {
  SyncOverTlsTest() : server(clock.wall()), link(make_https_link({})) {
    ledger = Ledger::open(folder.path() / "ledger.db", clock).value();
    SyncOptions options;
    options.version = "1";
    options.platform = "test";
    options.own_name = [] { return "host"; };
    sync = std::make_unique<Sync>(
        *ledger, *link, IdentityFolder(folder.path()),
        [](std::string_view, std::int64_t) -> Result<std::unique_ptr<Follower>> {
          return Error{ErrorCode::not_found, "none"};
        },
        clock, log, options);
  }
  void run() {
    thread = std::jthread([this](const std::stop_token& stop) { sync->run(stop); });
  }

  os::SystemClock clock;
  test::TemporaryFolder folder;
  SmallServer server;
  Logger log{LogLevel::error, LogFormat::text};
  std::unique_ptr<ServerLink> link;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Sync> sync;
  std::jthread thread;
};

TEST_F(SyncOverTlsTest, EnrolsTakesATaskAndReportsWhileThePollIsHeld) {
  run();
  ASSERT_TRUE(sync->enroll(server.server->url(), server.token(), "laptop"));
  ASSERT_TRUE(server.await([&] { return server.poll_held && server.acknowledged; }));
  EXPECT_EQ(server.polled_by, "node-1");
  EXPECT_TRUE(ledger->get(kTask));
  EXPECT_EQ(sync->status().state, LinkState::connected);
  ASSERT_TRUE(ledger->start(kTask));
  // The snapshot's reports may still be on their way, in a batch of their own.
  ASSERT_TRUE(server.await([&] {
    return std::any_of(server.reports.begin(), server.reports.end(), [](const std::string& batch) {
      return batch.find("\"started\"") != std::string::npos;
    });
  }));
  const auto begin = std::chrono::steady_clock::now();
  thread.request_stop();  // in the middle of a held poll
  thread.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(SyncOverTlsTest, AnotherServerInItsPlaceIsNotTalkedTo) {
  const SmallServer impostor(clock.wall());
  const std::string url = impostor.server->url();
  ASSERT_TRUE(sync->enroll(url, server.token(), ""));
  static_cast<void>(sync->step());
  EXPECT_EQ(sync->status().last_error_code, "tls-untrusted");
  EXPECT_EQ(sync->status().state, LinkState::enrolling);
}

}  // namespace
}  // namespace agenttask::agent
