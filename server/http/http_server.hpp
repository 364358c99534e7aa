#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "platform/protocol/limits.hpp"
#include "server/http/exchange.hpp"
#include "server/http/ticket_keys.hpp"

namespace agenttask::server {

/// Hard limits of the transport. Each is tested at the limit and past it. What is past one gets a problem
/// document where an answer is possible, and the connection is closed.
struct HttpLimits {
  std::size_t header_bytes = 16 * 1024;         ///< request line and header fields: 431
  std::size_t body_bytes = limits::kBodyBytes;  ///< 413
  std::size_t stream_body_bytes =
      limits::kStreamBodyBytes;                    ///< of POST /v1/device/reports with a client certificate
  std::size_t buffered_bytes = 256 * 1024 * 1024;  ///< request bodies in memory, of all connections: 503
  std::size_t connections = 10'000;                ///< in all
  std::size_t connections_per_address = 10'000;    ///< generous: devices sit behind one NAT
  /// Past these: so many at once get through their handshake, to hear 503 with Retry-After and no more. The
  /// next is closed without a word.
  std::size_t turned_away = 32;
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds header_timeout{10'000};  ///< from a request's first byte to its last header: 408
  /// 408. A second more for each 8 KiB that came, but never more than this from now.
  std::chrono::milliseconds body_timeout{30'000};
  std::chrono::milliseconds idle_timeout{75'000};  ///< a kept connection without a request
  /// For a peer to take its answer; as above. It is dropped then.
  std::chrono::milliseconds write_timeout{30'000};
};

/// What the server shows and whom it believes. PEM text.
struct TlsIdentity {
  std::string certificate_chain;
  std::string private_key;
  std::string device_authority;  ///< the only issuer of client certificates that is believed
  bool allow_tls12 = false;      ///< else TLS 1.3 only
};

struct HttpServerOptions {
  std::string address = "0.0.0.0";
  std::uint16_t port = 8443;        ///< 0: any free one, see `port()`
  std::size_t network_threads = 0;  ///< 0: one a core, at most 4
  HttpLimits limits;
};

/// HTTPS/1.1 over callbacks on a few network threads. The only part that knows Asio, Beast and OpenSSL's TLS.
///
/// Client certificates are asked for and not required. One that our authority did not issue for client
/// authentication ends the handshake; an expired one passes and is marked (`Request::certificate_expired`).
/// Threads: every method, any thread. SIGPIPE must be ignored in the process.
class HttpServer {
 public:
  /// Binds, listens and serves at once. `handler`, `clock` and `logger` must outlive it.
  static Result<std::unique_ptr<HttpServer>> start(const HttpServerOptions& options,
                                                   const TlsIdentity& identity,
                                                   std::shared_ptr<TicketKeys> ticket_keys,
                                                   RequestHandler& handler, const Clock& clock,
                                                   Logger& logger);
  /// Stops at once, where `stop` was not called.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::size_t connections() const;
  /// Returns once each network thread was seen at work; not to be called any more once `stop` is.
  void look_alive() const;

  /// New connections get this identity; open ones keep theirs. Nothing changes on an error.
  Result<void> use(const TlsIdentity& identity);
  /// From now on; what is already past a lowered limit stays.
  void use(const HttpLimits& limits);

  /// First step of a graceful stop: no new connections; idle ones are closed, the others after their present
  /// request.
  void stop_accepting();
  /// Waits until every connection is closed, at most `grace`, then closes what is left and joins the threads.
  void stop(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace agenttask::server
