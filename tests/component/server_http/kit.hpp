#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/ssl.h>

#include "platform/base/clock.hpp"
#include "platform/net/certificate.hpp"
#include "server/http/dispatcher.hpp"
#include "server/http/http_server.hpp"

/// A real server on the loopback and clients that speak TLS byte by byte.
namespace agenttask::server::kit {

class RealClock final : public Clock {
 public:
  [[nodiscard]] UnixMilliseconds wall() const override;
  [[nodiscard]] MonotonicTime monotonic() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] DurationMilliseconds since_boot() const override { return 0; }
};

/// A key and a certificate, PEM.
struct Paper {
  std::string certificate;
  std::string key;
  std::string fingerprint;
};

/// An authority that signs whatever a test needs.
class Issuer {
 public:
  Issuer();
  [[nodiscard]] std::string pem() const { return certificate_.to_pem(); }
  [[nodiscard]] Paper issue(std::string_view name, net::CertificatePurpose purpose,
                            UnixMilliseconds not_after) const;
  [[nodiscard]] Paper server() const;
  [[nodiscard]] Paper device(std::string_view name) const;

 private:
  net::PrivateKey key_;
  net::Certificate certificate_;
};

/// Answers with `answer`; by default an echo of what came in.
class FunctionHandler final : public RequestHandler {
 public:
  using Function = std::function<void(std::shared_ptr<Exchange>)>;
  FunctionHandler();
  void handle(std::shared_ptr<Exchange> exchange) override;
  Function function;
};

struct ServerKit {
  explicit ServerKit(RequestHandler& handler, HttpLimits limits = {}, bool allow_tls12 = false,
                     std::shared_ptr<TicketKeys> keys = nullptr, const Issuer* issuer = nullptr);
  [[nodiscard]] TlsIdentity identity() const;

  RealClock clock;
  Logger logger{LogLevel::error, LogFormat::text};
  std::unique_ptr<Issuer> own_issuer;
  const Issuer& issuer;
  Paper paper;
  bool tls12;
  std::unique_ptr<HttpServer> http;
};

struct Answer {
  int status = 0;
  std::string head;
  std::string body;
  [[nodiscard]] std::string header(std::string_view name) const;
};

/// Blocking, with a time limit on each read. `alive` is false once the connection has ended.
class Client {
 public:
  struct Options {
    std::optional<Paper> paper;
    int highest = TLS1_3_VERSION;
    SSL_SESSION* session = nullptr;
    bool handshake = true;
  };
  explicit Client(std::uint16_t port, Options options);
  explicit Client(std::uint16_t port) : Client(port, Options{}) {}
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] bool resumed() const { return SSL_session_reused(connection_) == 1; }
  [[nodiscard]] int tickets() const { return tickets_; }
  /// The last ticket; the caller frees it.
  [[nodiscard]] SSL_SESSION* take_session();

  bool send(std::string_view bytes);
  bool send_raw(std::string_view bytes) const;  ///< beside TLS
  std::string receive_raw() const;              ///< what comes beside TLS, to the end
  /// The next answer, its body decoded; status 0 when the connection ended first.
  Answer receive();
  /// Bytes of the body that have come by now, at least one; empty at the end of the connection.
  std::string receive_some();
  /// Waits for the end; true when the peer ended the connection within the time.
  bool ended();
  Answer ask(std::string_view request) { return send(request) ? receive() : Answer{}; }
  void hang_up();  ///< without a goodbye

 private:
  bool fill();
  std::string take_line();
  std::string take(std::size_t bytes);
  static int on_session(SSL* connection, SSL_SESSION* session);

  int socket_;  // first: connecting may throw, and nothing else is held then
  SSL_CTX* context_;
  SSL* connection_ = nullptr;
  SSL_SESSION* session_ = nullptr;
  int tickets_ = 0;
  bool connected_ = false;
  bool over_ = false;
  std::string in_;
};

inline std::string get(std::string_view path, std::string_view fields = {}) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "\r\n";
}
inline std::string post(std::string_view path, std::string_view body, std::string_view fields = {}) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(fields) + "\r\n" + std::string(body);
}

/// Something that happens once, to be awaited.
class Event {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    happened_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait(std::chrono::milliseconds time = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return happened_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool happened_ = false;
};

}  // namespace agenttask::server::kit
