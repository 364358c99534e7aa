#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "server/http/tls_context.hpp"

namespace agenttask::server {

/// TLS over a non-blocking socket, without any buffer of its own: OpenSSL works on the descriptor directly
/// and gives its records back when they are empty. asio::ssl::stream keeps two 17 kB buffers and a BIO pair
/// for each connection, which is what an idle device would cost. Internal to server/http. Threads: one.
class TlsStream {
 public:
  enum class Status : std::uint8_t { done, wants_read, wants_write, closed, failed };
  struct Progress {
    Status status;
    std::size_t bytes = 0;
  };

  /// `descriptor` stays the caller's and must be non-blocking.
  TlsStream(std::shared_ptr<TlsContext> context, int descriptor);

  [[nodiscard]] Status handshake();
  [[nodiscard]] Progress read(std::span<char> buffer);
  [[nodiscard]] Progress write(std::string_view bytes);
  /// Says goodbye, as far as that goes without waiting.
  void shut_down();

  [[nodiscard]] const SSL* native() const { return connection_.get(); }
  /// After a failed handshake: the peer spoke plain HTTP.
  [[nodiscard]] bool peer_spoke_http() const { return peer_spoke_http_; }
  /// Why the last call failed, for logs.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Free {
    void operator()(SSL* connection) const { SSL_free(connection); }
  };
  Status status_of(int result);
  void forget_chain();

  std::shared_ptr<TlsContext> context_;
  std::unique_ptr<SSL, Free> connection_;
  std::string problem_;
  bool peer_spoke_http_ = false;
  bool broken_ = false;
};

}  // namespace agenttask::server
