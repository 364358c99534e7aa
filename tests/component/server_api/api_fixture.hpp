#pragma once
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/base/log.hpp"
#include "platform/net/certificate.hpp"
#include "platform/protocol/message.hpp"
#include "server/api/credentials.hpp"
#include "server/api/router.hpp"
#include "server/authority/authority.hpp"
#include "server/store/presence.hpp"
#include "server/store/writer.hpp"
#include "tests/component/server_api/openapi_checker.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::server::test {

using nlohmann::json;

/// Live output at its smallest: one list for each follower, nothing wakes.
class PlainLiveOutput final : public LiveOutput {
 public:
  class Follower final : public OutputFollower {
   public:
    Follower(PlainLiveOutput& live, std::string task) : live_(live), task_(std::move(task)) {
      live_.followers_[task_].insert(this);
    }
    ~Follower() override { live_.followers_[task_].erase(this); }
    std::vector<LiveChunk> take() override { return std::exchange(waiting, {}); }
    std::vector<LiveChunk> waiting;

   private:
    PlainLiveOutput& live_;
    std::string task_;
  };

  std::unique_ptr<OutputFollower> follow(std::string_view, std::string_view task) override {
    return std::make_unique<Follower>(*this, std::string(task));
  }
  std::vector<std::string> watched(std::string_view) const override {
    std::vector<std::string> tasks;
    for (const auto& [task, followers] : followers_) {
      if (!followers.empty()) tasks.push_back(task);
    }
    return tasks;
  }
  bool publish(std::string_view, std::string_view task, std::vector<LiveChunk> chunks) override {
    auto& followers = followers_[std::string(task)];
    for (auto* follower : followers)
      follower->waiting.insert(follower->waiting.end(), chunks.begin(), chunks.end());
    return !followers.empty();
  }

 private:
  std::map<std::string, std::set<Follower*>> followers_;
};

/// One device with its key and certificate, as the TLS side would show it.
struct EnrolledDevice {
  std::string id;
  PeerCertificate certificate;
};

/// Who asks and how.
struct CallOptions {
  std::string token = {};  ///< of an operator
  std::optional<PeerCertificate> certificate = {};
  std::map<std::string, std::string, std::less<>> headers = {};
  std::vector<std::pair<std::string, std::string>> query = {};
  bool may_wait = true;
};

/// The router over a real store, writer and authority. Every answer is held against openapi.json.
class ApiTest : public ::testing::Test {
 public:
  ApiTest();
  ~ApiTest() override { writer.reset(); }

 protected:
  using Options = CallOptions;
  std::shared_ptr<Request> request(const std::string& method, const std::string& path, std::string body = {},
                                   const Options& options = {}) const;
  /// Read, and where it has to, written.
  Outcome evaluate(const std::shared_ptr<Request>& asked);
  Response call(const std::string& method, const std::string& path, std::string body = {},
                const Options& options = {});

  /// As an admin; `target` may have a query. Fails unless the status is `status`.
  json ok(const std::string& method, const std::string& target, const json& body = nullptr, int status = 200);
  /// The problem that an admin gets.
  json problem(const std::string& method, const std::string& target, const json& body, int status,
               const std::string& code);
  Options as(const std::string& token) const { return {.token = token}; }
  std::string make_operator(Role role, std::optional<UnixMilliseconds> expires_at = {});
  EnrolledDevice enroll(const std::string& name, const json& token_request = json::object());
  Response post_enroll(const std::string& token, const net::PrivateKey& key, const std::string& name);
  json add_task(const std::string& node, const json& body = {{"type", "echo"}, {"data", {{"message", "x"}}}});
  std::size_t task_count();

  /// A poll of a device that has nothing.
  PollRequest poll_of(const EnrolledDevice& device, Cursor cursor = {}, std::int64_t epoch = 1) const;
  Outcome poll(const EnrolledDevice& device, const PollRequest& asked, bool may_wait = false);
  PollAnswer polled(const EnrolledDevice& device, const PollRequest& asked);
  /// The cursor after all lines of an answer.
  static Cursor after(const PollAnswer& answer);
  Response report(const EnrolledDevice& device, const std::vector<decltype(Report::body)>& bodies);

  void check(const Request& asked, const Response& response);
  /// The server's start and end, as far as its store is concerned.
  void open_store();
  void close_store();
  /// A new router over the same store.
  void route(const HistoryLimits& limits = {});

  agenttask::test::TemporaryFolder folder;
  agenttask::test::ManualClock clock;
  Logger logger{LogLevel::error, LogFormat::text};
  std::unique_ptr<Authority> authority;
  std::unique_ptr<Store> store;
  Presence presence{clock, logger};
  PlainLiveOutput live;
  std::vector<std::string> touched;
  std::unique_ptr<Writer> writer;
  std::unique_ptr<Router> router;
  OpenapiChecker openapi{Router::openapi()};
  std::string admin;
  std::map<std::string, Cursor> report_cursors;
};

}  // namespace agenttask::server::test
