#include "server/http/http_server.hpp"

#include <algorithm>
#include <latch>
#include <vector>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>

#include "server/http/connection.hpp"
#include "server/http/network.hpp"

namespace agenttask::server {
namespace {

using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, asio::io_context::executor_type>;
using AcceptTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                               asio::io_context::executor_type>;

constexpr std::size_t kMostNetworkThreads = 4;
/// When the system has no descriptor left for a new connection.
constexpr std::chrono::milliseconds kAcceptPause{200};
constexpr std::chrono::seconds kWarnEvery{10};

std::size_t thread_count(std::size_t wanted) {
  if (wanted > 0) return std::min<std::size_t>(wanted, 64);
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostNetworkThreads);
}

Error cannot_listen(const HttpServerOptions& options, const boost::system::error_code& error) {
  return Error{ErrorCode::io, "cannot listen on " + options.address + " port " +
                                  std::to_string(options.port) + ": " + error.message() +
                                  "; choose another with --listen and --port"};
}

std::string address_text(const Socket& socket) {
  boost::system::error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return {};
  auto address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address.to_string();
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, std::shared_ptr<TicketKeys> ticket_keys, RequestHandler& handler,
       const Clock& clock, Logger& logger)
      : network_(handler, clock, logger), ticket_keys_(std::move(ticket_keys)) {
    network_.use(options.limits);
    for (std::size_t i = 0; i < thread_count(options.network_threads); ++i) {
      threads_.push_back(std::make_shared<NetworkThread>(network_));
    }
    acceptor_.emplace(threads_.front()->io());
    pause_.emplace(threads_.front()->io());
  }
  // NOLINTNEXTLINE(bugprone-exception-escape): join() throws only for threads that can't be joined
  ~Impl() { stop(std::chrono::milliseconds(0)); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> use(const TlsIdentity& identity) {
    auto context = TlsContext::make(identity, ticket_keys_);
    if (!context) return context.error();
    network_.use(std::move(*context));
    return {};
  }

  Result<void> listen(const HttpServerOptions& options);
  void start() {
    for (const auto& thread : threads_) thread->start();
    asio::post(threads_.front()->io(), [this] { accept(); });
  }
  void stop_accepting();
  void stop(std::chrono::milliseconds grace);

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] Network& network() { return network_; }
  void look_alive() const;

 private:
  void accept();
  void accepted(const boost::system::error_code& error, Socket socket,
                const std::shared_ptr<NetworkThread>& thread);
  void warn(std::string_view message, std::string_view reason);

  Network network_;
  std::shared_ptr<TicketKeys> ticket_keys_;
  std::vector<std::shared_ptr<NetworkThread>> threads_;
  std::optional<Acceptor> acceptor_;
  std::optional<AcceptTimer> pause_;
  std::size_t next_thread_ = 0;
  std::uint16_t port_ = 0;
  std::chrono::steady_clock::time_point warned_{};
  std::mutex stop_mutex_;
  bool stopped_ = false;
};

Result<void> HttpServer::Impl::listen(const HttpServerOptions& options) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) {
    return Error{ErrorCode::invalid, "cannot listen on \"" + options.address + "\": it is not an IP address",
                 "listen"};
  }
  const asio::ip::tcp::endpoint endpoint(address, options.port);
  acceptor_->open(endpoint.protocol(), error);
  if (!error) acceptor_->set_option(Acceptor::reuse_address(true), error);
  if (!error && address.is_v6()) acceptor_->set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor_->bind(endpoint, error);
  if (!error) acceptor_->listen(4096, error);
  if (error) return cannot_listen(options, error);
  port_ = acceptor_->local_endpoint(error).port();
  return {};
}

void HttpServer::Impl::warn(std::string_view message, std::string_view reason) {
  const auto now = std::chrono::steady_clock::now();
  if (warned_ != std::chrono::steady_clock::time_point{} && now - warned_ < kWarnEvery) return;
  warned_ = now;
  network_.logger().warning(message, {{"reason", reason}, {"connections", network_.connections()}});
}

void HttpServer::Impl::accept() {
  if (!acceptor_->is_open()) return;
  const auto& thread = threads_[next_thread_++ % threads_.size()];
  acceptor_->async_accept(thread->io(),
                          [this, thread](const boost::system::error_code& error, Socket socket) {
                            accepted(error, std::move(socket), thread);
                          });
}

void HttpServer::Impl::accepted(const boost::system::error_code& error, Socket socket,
                                const std::shared_ptr<NetworkThread>& thread) {
  if (!acceptor_->is_open()) return;
  if (error) {
    if (error == asio::error::connection_aborted) return accept();
    warn("cannot accept connections", error.message());
    pause_->expires_after(kAcceptPause);
    pause_->async_wait([this](const boost::system::error_code& cancelled) {
      if (!cancelled) accept();
    });
    return;
  }
  auto address = address_text(socket);
  boost::system::error_code failed;
  socket.non_blocking(true, failed);
  if (!failed) socket.set_option(asio::ip::tcp::no_delay(true), failed);
  if (failed || address.empty()) return accept();  // it is gone already
  const Admission admission = network_.admit(address);
  if (admission != Admission::served)
    warn("turned a connection away", "too many connections, in all or from " + address);
  if (admission == Admission::refused) return accept();
  auto connection = std::make_shared<Connection>(thread, std::move(socket), std::move(address), admission);
  asio::post(thread->io(), [connection = std::move(connection)] { connection->start(); });
  accept();
}

void HttpServer::Impl::stop_accepting() {
  network_.drain();
  asio::post(threads_.front()->io(), [this] {
    boost::system::error_code ignored;
    acceptor_->close(ignored);
    pause_->cancel();
    // After the acceptor, so that none comes in behind the others' backs.
    for (const auto& thread : threads_) asio::post(thread->io(), [thread] { thread->drain(); });
  });
}

void HttpServer::Impl::look_alive() const {
  const auto seen = std::make_shared<std::latch>(static_cast<std::ptrdiff_t>(threads_.size()));
  for (const auto& thread : threads_) asio::post(thread->io(), [seen] { seen->count_down(); });
  seen->wait();
}

void HttpServer::Impl::stop(std::chrono::milliseconds grace) {
  const std::lock_guard lock(stop_mutex_);
  if (stopped_) return;
  stopped_ = true;
  stop_accepting();
  if (grace.count() > 0) network_.wait_until_empty(grace);
  for (const auto& thread : threads_) thread->stop();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(const HttpServerOptions& options,
                                                      const TlsIdentity& identity,
                                                      std::shared_ptr<TicketKeys> ticket_keys,
                                                      RequestHandler& handler, const Clock& clock,
                                                      Logger& logger) {
  auto impl = std::make_unique<Impl>(options, std::move(ticket_keys), handler, clock, logger);
  if (auto done = impl->use(identity); !done) return done.error();
  if (auto done = impl->listen(options); !done) return done.error();
  impl->start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::uint16_t HttpServer::port() const {
  return impl_->port();
}
std::size_t HttpServer::connections() const {
  return impl_->network().connections();
}
void HttpServer::look_alive() const {
  impl_->look_alive();
}
Result<void> HttpServer::use(const TlsIdentity& identity) {
  return impl_->use(identity);
}
void HttpServer::use(const HttpLimits& limits) {
  impl_->network().use(limits);
}
void HttpServer::stop_accepting() {
  impl_->stop_accepting();
}
void HttpServer::stop(std::chrono::milliseconds grace) {
  impl_->stop(grace);
}

}  // namespace agenttask::server
