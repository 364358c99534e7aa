#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/wait_traits.hpp>

#include "server/http/http_server.hpp"
#include "server/http/tls_context.hpp"

/// What connections and threads of the transport share. Internal to server/http.
namespace agenttask::server {

namespace asio = boost::asio;
using SteadyTime = std::chrono::steady_clock::time_point;
/// Without the polymorphic executor, which would cost each connection some words.
using Socket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;

class Connection;

/// What becomes of a new connection, where there may be too many.
enum class Admission : std::uint8_t {
  served,
  turned_away,  ///< it is told so
  refused,      ///< without a word
};

/// Shared by all network threads.
class Network {
 public:
  Network(RequestHandler& handler, const Clock& clock, Logger& logger)
      : handler_(handler), clock_(clock), logger_(logger) {}

  [[nodiscard]] RequestHandler& handler() { return handler_; }
  [[nodiscard]] const Clock& clock() const { return clock_; }
  [[nodiscard]] Logger& logger() { return logger_; }

  [[nodiscard]] std::shared_ptr<const HttpLimits> limits() const;
  void use(const HttpLimits& limits);
  [[nodiscard]] std::shared_ptr<TlsContext> context() const;
  void use(std::shared_ptr<TlsContext> context);

  /// Counts a connection in, unless it is refused. Too many are those in all, or from there.
  [[nodiscard]] Admission admit(const std::string& address);
  void release(const std::string& address, Admission admission);
  /// Those that are served.
  [[nodiscard]] std::size_t connections() const { return connections_.load(std::memory_order_relaxed); }
  /// Waits until there are no connections; false when that took longer than `grace`.
  bool wait_until_empty(std::chrono::milliseconds grace);

  /// Counts bytes of request bodies in; false when there are too many, and they are not counted then.
  [[nodiscard]] bool reserve(std::size_t bytes, std::size_t most);
  void give_back(std::size_t bytes) { buffered_.fetch_sub(bytes, std::memory_order_relaxed); }

  [[nodiscard]] bool draining() const { return draining_.load(std::memory_order_relaxed); }
  void drain() { draining_.store(true, std::memory_order_relaxed); }

 private:
  RequestHandler& handler_;
  const Clock& clock_;
  Logger& logger_;
  std::atomic<std::size_t> connections_{0};
  std::atomic<std::size_t> buffered_{0};
  std::atomic<bool> draining_{false};
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  std::shared_ptr<const HttpLimits> limits_ = std::make_shared<HttpLimits>();
  std::shared_ptr<TlsContext> context_;
  std::map<std::string, std::size_t> by_address_;
  std::size_t turned_away_ = 0;
};

/// One network thread with its connections and the one ordered timer for all their deadlines.
class NetworkThread {
 public:
  explicit NetworkThread(Network& network);
  // NOLINTNEXTLINE(bugprone-exception-escape): join() throws only for threads that can't be joined
  ~NetworkThread();  ///< stop()

  [[nodiscard]] Network& network() { return network_; }
  [[nodiscard]] asio::io_context& io() { return io_; }
  /// For reading into, on this thread, between two callbacks.
  [[nodiscard]] std::span<char> buffer() { return buffer_; }

  void start();
  /// Closes all connections and joins.
  void stop();

  // On this thread:
  void add(const std::shared_ptr<Connection>& connection);
  void remove(const std::shared_ptr<Connection>& connection);
  void drain();
  void set_deadline(Connection& connection, SteadyTime time);
  void clear_deadline(Connection& connection);

 private:
  using Timer =
      asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                 asio::io_context::executor_type>;
  void arm();
  void expire();

  Network& network_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::array<char, 16 * 1024> buffer_{};
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  std::set<std::pair<SteadyTime, Connection*>> deadlines_;
  Timer timer_{io_};
  SteadyTime armed_ = SteadyTime::max();
  std::thread thread_;
};

}  // namespace agenttask::server
