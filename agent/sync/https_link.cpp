#include <map>
#include <optional>
#include <utility>

#include "agent/sync/server_link.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

struct CallShape {
  std::string_view path;
  std::string_view content_type;
  milliseconds idle_timeout;  ///< of a body under way; 0: the call's own timeout is enough
};

CallShape shape_of(ServerCall call) {
  switch (call) {
    case ServerCall::poll:
      return {"/v1/device/poll", "application/json", milliseconds(0)};
    case ServerCall::reports:
      return {"/v1/device/reports", "application/x-ndjson", milliseconds(60'000)};
    case ServerCall::output:
      return {"/v1/device/output", "application/json", milliseconds(0)};
    case ServerCall::renew:
      return {"/v1/device/renew", "application/json", milliseconds(0)};
    case ServerCall::enroll:
      return {"/v1/enroll", "application/json", milliseconds(0)};
  }
  return {};
}

class HttpsLink final : public ServerLink {
 public:
  explicit HttpsLink(RouteSettings settings)
      : route_{.proxy = std::move(settings.proxy),
               .no_proxy = std::move(settings.no_proxy),
               .tls_minimum = settings.tls_minimum},
        client_(route_) {}

  void start(ServerCall call, const ServerPeer& peer, std::string body, milliseconds timeout,
             Done done) override {
    if (!(configured_ == peer)) {
      net::HttpClientSettings settings = route_;
      settings.authority_pem = peer.authority_pem;
      settings.certificate_pem = peer.certificate_pem;
      settings.key_pem = peer.key_pem;
      client_.configure(std::move(settings));
      configured_ = peer;
    }
    const CallShape shape = shape_of(call);
    net::HttpRequest request{.method = "POST",
                             .url = peer.url + std::string(shape.path),
                             .body = std::move(body),
                             .content_type = std::string(shape.content_type),
                             .timeout = timeout,
                             .idle_timeout = shape.idle_timeout};
    open_[call] =
        client_.start(std::move(request), [this, call, done = std::move(done)](net::HttpResult result) {
          open_.erase(call);
          done(std::move(result));
        });
  }

  void abandon(ServerCall call) override {
    if (const auto found = open_.find(call); found != open_.end()) {
      client_.cancel(found->second);
      open_.erase(found);
    }
  }

  boost::system::result<std::string, net::HttpError> authority(const net::ServerUrl& server,
                                                               std::string_view fingerprint,
                                                               const std::stop_token& stop) override {
    return net::fetch_authority(server, fingerprint, route_, stop);
  }

  void wait(milliseconds most, const std::stop_token& stop) override { client_.wait(most, stop); }
  void wake() override { client_.wake(); }

 private:
  const net::HttpClientSettings route_;
  std::optional<ServerPeer> configured_;
  std::map<ServerCall, net::HttpClient::Transfer> open_;
  net::HttpClient client_;
};

}  // namespace

std::unique_ptr<ServerLink> make_https_link(RouteSettings settings) {
  return std::make_unique<HttpsLink>(std::move(settings));
}

}  // namespace agenttask::agent
