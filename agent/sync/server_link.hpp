#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "platform/net/http_client.hpp"
#include "platform/net/url.hpp"

namespace agenttask::agent {

/// The calls that a device makes. Of each at most one is under way.
enum class ServerCall : std::uint8_t { poll, reports, output, renew, enroll };

/// The other side, and who we are to it.
struct ServerPeer {
  std::string url;  ///< `https://host:port`
  std::string authority_pem;
  std::string certificate_pem;  ///< empty for enrolment: nobody yet
  std::string key_pem;
  bool operator==(const ServerPeer&) const = default;
};

/// The way to the server: HTTPS, or a fake in tests.
///
/// Threads: one owner, that of Sync; only wake() may be called from others.
class ServerLink {
 public:
  using Done = std::function<void(net::HttpResult)>;

  virtual ~ServerLink() = default;
  /// Begins a call; `done` comes from wait(). Must not be under way already.
  virtual void start(ServerCall call, const ServerPeer& peer, std::string body,
                     std::chrono::milliseconds timeout, Done done) = 0;
  /// Gives up a call that is under way: its `done` never comes. Otherwise nothing.
  virtual void abandon(ServerCall call) = 0;
  /// Blocks: the authority of a server that we don't know yet, in PEM, if it has this fingerprint.
  [[nodiscard]] virtual boost::system::result<std::string, net::HttpError> authority(
      const net::ServerUrl& server, std::string_view fingerprint, const std::stop_token& stop) = 0;
  /// Drives the calls until one is done, `most` has passed, wake() was called or `stop` is requested.
  virtual void wait(std::chrono::milliseconds most, const std::stop_token& stop) = 0;
  /// Makes wait() return. Threads: any.
  virtual void wake() = 0;
};

/// How to get through to a server: what an administrator sets.
struct RouteSettings {
  std::string proxy;
  std::string no_proxy;
  net::TlsVersion tls_minimum = net::TlsVersion::tls_1_3;
};

[[nodiscard]] std::unique_ptr<ServerLink> make_https_link(RouteSettings settings);

}  // namespace agenttask::agent
