#pragma once
#include <atomic>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "agent/sync/server_link.hpp"

namespace agenttask::agent {

/// A way to a server that is played by the test: it sees each call and answers when and how it likes, or
/// never.
class FakeLink final : public ServerLink {
 public:
  struct Open {
    ServerPeer peer;
    std::string body;
    std::chrono::milliseconds timeout;
    Done done;
  };

  void start(ServerCall call, const ServerPeer& peer, std::string body, std::chrono::milliseconds timeout,
             Done done) override {
    if (open_.contains(call)) throw std::logic_error("a call of this kind is under way already");
    ++started_[call];
    open_.emplace(call, Open{peer, std::move(body), timeout, std::move(done)});
  }
  void abandon(ServerCall call) override { open_.erase(call); }
  boost::system::result<std::string, net::HttpError> authority(const net::ServerUrl& server,
                                                               std::string_view fingerprint,
                                                               const std::stop_token&) override {
    ++authority_asked;
    asked_url = server.to_string();
    asked_fingerprint = std::string(fingerprint);
    if (authority_failure) return *authority_failure;
    return authority_pem;
  }
  void wait(std::chrono::milliseconds, const std::stop_token&) override {}
  void wake() override { ++woken; }

  [[nodiscard]] bool has(ServerCall call) const { return open_.contains(call); }
  [[nodiscard]] const Open& get(ServerCall call) const { return open_.at(call); }
  [[nodiscard]] int started(ServerCall call) const {
    const auto found = started_.find(call);
    return found == started_.end() ? 0 : found->second;
  }

  void answer(ServerCall call, int status, std::string body,
              std::vector<std::pair<std::string, std::string>> headers = {}) {
    finish(call, net::HttpResponse{status, std::move(headers), std::move(body)});
  }
  /// The network fails: whether the server got the call is unknown.
  void lose(ServerCall call, net::HttpFailure failure = net::HttpFailure::broken) {
    finish(call, net::HttpError{failure, {ErrorCode::unavailable, "the network failed", {}}});
  }

  std::atomic<int> woken = 0;
  std::string authority_pem;
  std::optional<net::HttpError> authority_failure;
  int authority_asked = 0;
  std::string asked_url;
  std::string asked_fingerprint;

 private:
  void finish(ServerCall call, net::HttpResult result) {
    const Done done = std::move(open_.at(call).done);
    open_.erase(call);
    done(std::move(result));
  }

  std::map<ServerCall, Open> open_;
  std::map<ServerCall, int> started_;
};

}  // namespace agenttask::agent
