#include "server/http/connection.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "server/http/response_text.hpp"

namespace agenttask::server {
namespace {

/// What a peer may send ahead while its request is being answered; more is left in the socket.
constexpr std::size_t kPipelinedBytes = 16 * 1024;
/// Reads in a row before others on the thread get their turn.
constexpr int kReadsInTurn = 16;
/// For those for whom there is no connection: each attempt costs a handshake.
constexpr std::chrono::seconds kRetryAfter{10};
/// The slowest body or reader that is waited for.
constexpr std::size_t kSlowestBytesInSecond = 8 * 1024;

bool is_report(const Request& request) {
  return request.method == "POST" && request.path == "/v1/device/reports";
}

}  // namespace

Connection::Connection(std::shared_ptr<NetworkThread> thread, Socket socket, std::string address,
                       Admission admission)
    : thread_(std::move(thread)),
      network_(thread_->network()),
      socket_(std::move(socket)),
      address_(std::move(address)),
      admission_(admission),
      tls_(network_.context(), socket_.native_handle()),
      limits_(network_.limits()) {}

Connection::~Connection() {
  network_.give_back(reserved_);
}

void Connection::start() {
  thread_->add(shared_from_this());
  if (network_.draining()) return close();
  deadline_in(limits_->handshake_timeout);
  handshake();
}

void Connection::deadline_in(std::chrono::milliseconds time) {
  thread_->set_deadline(*this, std::chrono::steady_clock::now() + time);
}

/// Progress moves the deadline, but never further than `most` from now: nobody saves up time to stall with.
void Connection::earn_time(std::size_t bytes, std::chrono::milliseconds most) {
  if (!deadline) return;
  const auto earned = std::chrono::microseconds(bytes * 1'000'000 / kSlowestBytesInSecond);
  thread_->set_deadline(*this,
                        std::min<SteadyTime>(*deadline + earned, std::chrono::steady_clock::now() + most));
}

void Connection::wait(Socket::wait_type what) {
  auto& waits = what == Socket::wait_read ? waits_read_ : waits_write_;
  if (waits) return;
  waits = true;
  socket_.async_wait(what, [self = shared_from_this(), what](const boost::system::error_code& error) {
    (what == Socket::wait_read ? self->waits_read_ : self->waits_write_) = false;
    if (!error) self->ready(what);
  });
}

void Connection::ready(Socket::wait_type what) {
  if (what == Socket::wait_read && write_blocked_) {
    write_blocked_ = false;
    flush();
  }
  switch (state_) {
    case State::handshaking:
      handshake();
      return;
    case State::reading:
      if (what == Socket::wait_write) flush();
      if (state_ == State::reading) read();
      return;
    case State::answering:
      if (what == Socket::wait_write) flush();
      if (state_ == State::answering) look();
      return;
    case State::lingering:
      drain_socket();
      return;
    case State::closed:
      return;
  }
}

void Connection::handshake() {
  switch (tls_.handshake()) {
    case TlsStream::Status::wants_read:
      wait(Socket::wait_read);
      return;
    case TlsStream::Status::wants_write:
      wait(Socket::wait_write);
      return;
    case TlsStream::Status::done:
      break;
    default:
      network_.logger().debug("a TLS handshake failed", {{"peer", address_}, {"error", tls_.problem()}});
      if (tls_.peer_spoke_http())
        refuse_plain_http();
      else
        close();
      return;
  }
  auto peer = peer_certificate(tls_.native());
  if (!peer) {
    network_.logger().debug("a client certificate was refused",
                            {{"peer", address_}, {"error", peer.error().message}});
    close();
    return;
  }
  peer_ = *std::move(peer);
  state_ = State::reading;
  // Whoever is turned away takes another's place meanwhile.
  deadline_in(admission_ == Admission::served ? limits_->idle_timeout : limits_->header_timeout);
  read();
}

void Connection::refuse_plain_http() {
  const auto response =
      problem_response({400, "https-required", "this port speaks HTTPS only: use https://"});
  const auto text = head_text(response, BodyForm::whole, false, network_.clock().wall()) + response.body;
  boost::system::error_code ignored;
  socket_.write_some(asio::buffer(text), ignored);  // fits the empty socket's buffer
  linger();
}

void Connection::read() {
  for (int turn = 0; turn < kReadsInTurn; ++turn) {
    if (!parse()) return;
    const auto buffer = thread_->buffer();
    const auto progress = tls_.read(buffer);
    switch (progress.status) {
      case TlsStream::Status::done:
        in_.append(buffer.data(), progress.bytes);
        break;
      case TlsStream::Status::wants_read:
        if (in_.empty()) std::string().swap(in_);
        wait(Socket::wait_read);
        return;
      case TlsStream::Status::wants_write:
        wait(Socket::wait_write);
        return;
      default:
        truncated();
        return;
    }
  }
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::reading) self->read();
  });
}

/// The peer ended the connection. In the middle of a request it may still listen.
void Connection::truncated() {
  if (parser_) {
    refuse({400, "truncated-request", "the request ended before it was whole"});
  } else {
    tls_.shut_down();
    close();
  }
}

bool Connection::parse() {
  while (state_ == State::reading) {
    if (!parser_) {
      // RFC 9112, section 2.2: an empty line before a request is passed over.
      if (in_.starts_with("\r\n")) in_.erase(0, 2);
      if (in_.empty() || in_ == "\r") return true;
      begin_request();
    }
    const auto progress = parser_->put(in_);
    const bool has_head =
        progress == RequestParser::Progress::header || progress == RequestParser::Progress::complete;
    if (has_head && admission_ == Admission::turned_away) {
      refuse({503, "overloaded", "the server has too many connections; try again later"}, kRetryAfter);
      return false;
    }
    if (progress != RequestParser::Progress::refused && !account_body()) return false;
    switch (progress) {
      case RequestParser::Progress::more:
        return true;
      case RequestParser::Progress::header:
        accept_header();
        break;
      case RequestParser::Progress::complete:
        dispatch();
        return false;
      case RequestParser::Progress::refused:
        refuse(parser_->problem());
        return false;
    }
  }
  return false;
}

void Connection::begin_request() {
  limits_ = network_.limits();
  parser_ = std::make_unique<RequestParser>(limits_->header_bytes);
  deadline_in(limits_->header_timeout);
}

void Connection::accept_header() {
  const bool large = peer_ && is_report(parser_->request());
  parser_->limit_body(large ? limits_->stream_body_bytes : limits_->body_bytes);
  // What the peer has sent already needs no invitation, and what is refused gets none.
  if (parser_->expects_continue() && in_.empty() && parser_->problem().code.empty()) {
    queue("HTTP/1.1 100 Continue\r\n\r\n");
    flush();
  }
  if (state_ == State::reading) deadline_in(limits_->body_timeout);
}

/// Counts what came of the body against what all connections may hold, and grants the time for more.
bool Connection::account_body() {
  const auto size = parser_->request().body.size();
  if (size <= reserved_) return true;
  if (!network_.reserve(size - reserved_, limits_->buffered_bytes)) {
    refuse({503, "overloaded", "the server holds too many requests at once; try again"});
    return false;
  }
  earn_time(size - reserved_, limits_->body_timeout);
  reserved_ = size;
  return true;
}

void Connection::dispatch() {
  state_ = State::answering;
  thread_->clear_deadline(*this);
  ++number_;
  keep_alive_ = parser_->keep_alive();
  head_ = parser_->is_head();
  http_1_0_ = parser_->is_http_1_0();
  auto request = parser_->take();
  parser_.reset();
  if (in_.empty()) std::string().swap(in_);
  request->remote_address = address_;
  request->received = network_.clock().monotonic();
  request->certificate = peer_;
  request->certificate_expired = peer_ && peer_->expires_at < network_.clock().wall();
  auto exchange =
      std::make_shared<ConnectionExchange>(thread_, weak_from_this(), number_, std::move(request));
  if (exchange->request()->path == "*") {
    exchange->respond(Response{204, {}, {}, {{"Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}}});
  } else {
    network_.handler().handle(std::move(exchange));
  }
  look();
}

/// While a request is being answered: notices when the peer goes away, and keeps what it sends ahead.
void Connection::look() {
  while (state_ == State::answering && in_.size() < kPipelinedBytes) {
    const auto buffer = thread_->buffer().first(kPipelinedBytes - in_.size());
    const auto progress = tls_.read(buffer);
    switch (progress.status) {
      case TlsStream::Status::done:
        in_.append(buffer.data(), progress.bytes);
        break;
      case TlsStream::Status::wants_read:
        wait(Socket::wait_read);
        return;
      case TlsStream::Status::wants_write:
        wait(Socket::wait_write);
        return;
      default:
        close();
        return;
    }
  }
}

void Connection::expire() {
  switch (state_) {
    case State::reading:
      if (parser_) {
        refuse({408, "request-timeout", "the request took too long to arrive"});
      } else {
        tls_.shut_down();
        close();
      }
      return;
    default:
      close();
      return;
  }
}

void Connection::drain() {
  if (state_ == State::handshaking || (state_ == State::reading && !parser_ && in_.empty())) {
    tls_.shut_down();
    close();
  }
}

void Connection::close() {
  if (state_ == State::closed) return;
  const auto self = shared_from_this();
  state_ = State::closed;
  end_exchange();
  thread_->clear_deadline(*this);
  boost::system::error_code ignored;
  socket_.close(ignored);
  parser_.reset();
  std::string().swap(in_);
  std::string().swap(out_);
  thread_->remove(self);
  network_.release(address_, admission_);
}

}  // namespace agenttask::server
