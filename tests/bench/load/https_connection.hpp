#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tests/bench/load/event_loop.hpp"
#include "tests/bench/load/tls_client.hpp"

namespace agenttask::bench {

struct Answer {
  int status = 0;  ///< 0: there was none, for `problem`
  std::string body;
  std::string problem;
};

/// Counts of all connections together, for the reports of the load.
struct Handshakes {
  std::int64_t full = 0;
  std::int64_t resumed = 0;
};

/// One connection to 127.0.0.1 that is kept: one request at a time, HTTP/1.1 over TLS 1.3. Opens when it is
/// first used, and again when it is used after it was closed.
class HttpsConnection final : public Watcher {
 public:
  using Done = std::function<void(Answer)>;

  /// All that is referred to outlives the connection; `identity` may be null.
  HttpsConnection(EventLoop& loop, const TlsClient& tls, std::uint16_t port, TlsIdentity* identity,
                  Handshakes& handshakes);
  ~HttpsConnection() { close(); }
  HttpsConnection(const HttpsConnection&) = delete;
  HttpsConnection& operator=(const HttpsConnection&) = delete;

  /// Sends a whole request. `done` is called once, in a later callback, unless close() comes first. `sent`,
  /// where it is given, is called when the last byte has been taken by the system.
  void send(std::string request, Done done, std::function<void()> sent = {});
  void use_port(std::uint16_t port) { port_ = port; }
  /// Called when the other side ends the connection between two requests.
  void on_lost(std::function<void()> lost) { lost_ = std::move(lost); }
  void close();

  void ready(std::uint32_t events) override;

 private:
  enum class Step : std::uint8_t { closed, connecting, handshaking, open };

  [[nodiscard]] bool open();
  void advance();
  void handshake();
  void write();
  void read();
  [[nodiscard]] bool take_answer();
  void want_write(bool wanted);
  void fail(std::string problem);
  /// True when the operation has to wait; otherwise it fails the connection.
  [[nodiscard]] bool waits(int result, const char* what);

  EventLoop& loop_;
  const TlsClient& tls_;
  TlsIdentity* identity_;
  Handshakes& handshakes_;
  std::unique_ptr<SSL, FreeSsl> connection_;
  Done done_;
  std::function<void()> sent_;
  std::function<void()> lost_;
  std::string out_;
  std::size_t out_taken_ = 0;
  std::string in_;
  int descriptor_ = -1;
  std::uint16_t port_;
  Step step_ = Step::closed;
  bool wants_write_ = false;
};

/// The bytes of a request; `headers` are whole lines.
[[nodiscard]] std::string request_text(std::string_view method, std::string_view target,
                                       std::string_view headers, std::string_view body);

}  // namespace agenttask::bench
