#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/network.hpp"
#include "server/http/request_parser.hpp"
#include "server/http/tls_stream.hpp"

namespace agenttask::server {

/// One client: handshake, then one request after another. Internal to server/http.
/// Threads: its network thread only; exchanges post to it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// Already counted in by `Network::admit`, which did not refuse it.
  Connection(std::shared_ptr<NetworkThread> thread, Socket socket, std::string address, Admission admission);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();
  void expire();  ///< the deadline has passed
  void drain();   ///< the server stops: nothing after the present request
  void close();   ///< at once

  // For the exchange of request `number`; without effect when that is over.
  void observe(std::uint64_t number, std::weak_ptr<ExchangeObserver> observer);
  void respond(std::uint64_t number, const Response& response);
  void start_stream(std::uint64_t number, const Response& head);
  void send(std::uint64_t number, std::string_view bytes);
  void finish(std::uint64_t number);
  void abandon(std::uint64_t number);  ///< a stream whose end nobody will send

  std::optional<SteadyTime> deadline;  ///< NetworkThread's

 private:
  enum class State : std::uint8_t { handshaking, reading, answering, lingering, closed };

  // connection.cpp: what comes in
  void handshake();
  void refuse_plain_http();
  void read();
  [[nodiscard]] bool parse();
  void begin_request();
  void accept_header();
  [[nodiscard]] bool account_body();
  void dispatch();
  void look();
  void truncated();
  void wait(Socket::wait_type what);
  void ready(Socket::wait_type what);
  void deadline_in(std::chrono::milliseconds time);
  void earn_time(std::size_t bytes, std::chrono::milliseconds most);

  // connection_answer.cpp: what goes out
  [[nodiscard]] bool is_current(std::uint64_t number) const;
  void refuse(const Problem& problem, std::chrono::seconds retry_after = std::chrono::seconds(1));
  void queue(std::string_view bytes);
  void flush();
  void written();
  void next_request();
  void linger();
  void drain_socket();
  void end_exchange();

  std::shared_ptr<NetworkThread> thread_;
  Network& network_;
  Socket socket_;
  std::string address_;
  Admission admission_;
  TlsStream tls_;
  std::shared_ptr<const HttpLimits> limits_;
  std::shared_ptr<const PeerCertificate> peer_;
  std::unique_ptr<RequestParser> parser_;
  std::weak_ptr<ExchangeObserver> observer_;
  std::string in_;
  std::string out_;
  std::size_t out_taken_ = 0;
  std::size_t reserved_ = 0;  ///< bytes of the body counted in
  std::size_t lingered_ = 0;
  std::uint64_t number_ = 0;  ///< of the request under way
  State state_ = State::handshaking;
  bool waits_read_ = false;
  bool waits_write_ = false;
  bool write_blocked_ = false;  ///< TLS has to read before it can write on
  bool keep_alive_ = false;
  bool head_ = false;
  bool http_1_0_ = false;
  bool streaming_ = false;
  bool complete_ = false;  ///< the answer is whole in `out_`
};

/// The handle that handlers get.
class ConnectionExchange final : public Exchange {
 public:
  ConnectionExchange(std::shared_ptr<NetworkThread> thread, std::weak_ptr<Connection> connection,
                     std::uint64_t number, std::shared_ptr<Request> request);
  ~ConnectionExchange() override;

  [[nodiscard]] const std::shared_ptr<Request>& request() const override { return request_; }
  void observe(std::weak_ptr<ExchangeObserver> observer) override;
  void respond(Response response) override;
  void start(Response head) override;
  void send(std::string bytes) override;
  void finish() override;

 private:
  template <class Action>
  void post(Action action);

  std::shared_ptr<NetworkThread> thread_;
  std::weak_ptr<Connection> connection_;
  std::uint64_t number_;
  std::shared_ptr<Request> request_;
  enum class Phase : std::uint8_t { open, streaming, done } phase_ = Phase::open;
};

}  // namespace agenttask::server
