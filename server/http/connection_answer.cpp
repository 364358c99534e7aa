#include <exception>
#include <utility>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>

#include "server/http/connection.hpp"
#include "server/http/response_text.hpp"

namespace agenttask::server {
namespace {

/// After the last answer: how long, and how much, a peer may still send before it is cut off. Closing at once
/// would reset the connection, and the answer with it.
constexpr std::chrono::milliseconds kLingerTime{3'000};
constexpr std::size_t kLingerBytes = 64 * 1024 * 1024;
/// What a stream may have waiting for a slow reader; past it the connection is dropped.
constexpr std::size_t kStreamBacklogBytes = 32 * 1024 * 1024;
Response no_answer() {
  return problem_response({500, "internal", "the server lost this request; that is a fault of ours"});
}

}  // namespace

bool Connection::is_current(std::uint64_t number) const {
  return number == number_ && state_ == State::answering && !complete_;
}

void Connection::observe(std::uint64_t number, std::weak_ptr<ExchangeObserver> observer) {
  if (is_current(number)) {
    observer_ = std::move(observer);
  } else if (const auto gone = observer.lock()) {
    gone->gone();
  }
}

void Connection::refuse(const Problem& problem, std::chrono::seconds retry_after) {
  // Before the parser goes: the problem is often its own.
  const auto response = problem_response(problem, retry_after);
  state_ = State::answering;
  ++number_;
  keep_alive_ = false;
  if (parser_) head_ = parser_->is_head();
  parser_.reset();
  respond(number_, response);
}

void Connection::respond(std::uint64_t number, const Response& response) {
  if (!is_current(number) || streaming_) return;
  complete_ = true;
  keep_alive_ = keep_alive_ && !network_.draining();
  queue(head_text(response, BodyForm::whole, keep_alive_, network_.clock().wall()));
  if (!head_ && response.status != 204 && response.status != 304) queue(response.body);
  flush();
}

void Connection::start_stream(std::uint64_t number, const Response& head) {
  if (!is_current(number) || streaming_) return;
  streaming_ = true;
  keep_alive_ = keep_alive_ && !network_.draining() && !http_1_0_;
  const auto form = http_1_0_ ? BodyForm::until_closed : BodyForm::chunked;
  queue(head_text(head, form, keep_alive_, network_.clock().wall()));
  if (head_) {  // whoever asked for the head only gets nothing more
    complete_ = true;
    end_exchange();
    flush();
    return;
  }
  send(number, head.body);
}

void Connection::send(std::uint64_t number, std::string_view bytes) {
  if (!is_current(number) || !streaming_) return;
  if (out_.size() - out_taken_ > kStreamBacklogBytes) {
    network_.logger().info("dropped a reader that is too slow", {{"peer", address_}});
    close();
    return;
  }
  queue(http_1_0_ ? std::string(bytes) : chunk_text(bytes));
  flush();
}

void Connection::finish(std::uint64_t number) {
  if (!is_current(number) || !streaming_) return;
  complete_ = true;
  if (!http_1_0_) queue("0\r\n\r\n");
  flush();
}

void Connection::abandon(std::uint64_t number) {
  if (is_current(number)) close();
}

void Connection::queue(std::string_view bytes) {
  if (out_taken_ == out_.size()) {
    out_.clear();
    out_taken_ = 0;
    if (!bytes.empty()) deadline_in(limits_->write_timeout);
  }
  out_.append(bytes);
}

void Connection::flush() {
  while (state_ != State::closed && out_taken_ < out_.size()) {
    const auto progress = tls_.write(std::string_view(out_).substr(out_taken_));
    switch (progress.status) {
      case TlsStream::Status::done:
        out_taken_ += progress.bytes;
        earn_time(progress.bytes, limits_->write_timeout);
        break;
      case TlsStream::Status::wants_write:
        wait(Socket::wait_write);
        return;
      case TlsStream::Status::wants_read:
        write_blocked_ = true;
        wait(Socket::wait_read);
        return;
      default:
        close();
        return;
    }
  }
  if (state_ == State::answering) written();
}

/// Everything so far has been taken by the network.
void Connection::written() {
  std::string().swap(out_);
  out_taken_ = 0;
  if (!complete_) {
    thread_->clear_deadline(*this);
    if (const auto observer = observer_.lock()) observer->drained();
    return;
  }
  observer_.reset();
  if (keep_alive_ && !network_.draining()) {
    next_request();
  } else {
    linger();
  }
}

void Connection::next_request() {
  state_ = State::reading;
  ++number_;
  complete_ = false;
  streaming_ = false;
  network_.give_back(std::exchange(reserved_, 0));
  deadline_in(limits_->idle_timeout);
  read();
}

void Connection::linger() {
  state_ = State::lingering;
  network_.give_back(std::exchange(reserved_, 0));
  tls_.shut_down();
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  deadline_in(kLingerTime);
  drain_socket();
}

void Connection::drain_socket() {
  boost::system::error_code error;
  while (!error && lingered_ < kLingerBytes) {
    const auto buffer = thread_->buffer();
    lingered_ += socket_.read_some(asio::buffer(buffer.data(), buffer.size()), error);
  }
  if (error == asio::error::would_block || error == asio::error::try_again) {
    wait(Socket::wait_read);
  } else {
    close();
  }
}

/// Tells whoever answers that nobody listens any more.
void Connection::end_exchange() {
  const auto observer = std::exchange(observer_, {}).lock();
  ++number_;
  if (observer) observer->gone();
}

ConnectionExchange::ConnectionExchange(std::shared_ptr<NetworkThread> thread,
                                       std::weak_ptr<Connection> connection, std::uint64_t number,
                                       std::shared_ptr<Request> request)
    : thread_(std::move(thread)),
      connection_(std::move(connection)),
      number_(number),
      request_(std::move(request)) {}

ConnectionExchange::~ConnectionExchange() {
  try {
    if (phase_ == Phase::open) respond(no_answer());
    if (phase_ == Phase::streaming) {
      post([](Connection& connection, std::uint64_t number) { connection.abandon(number); });
    }
  } catch (const std::exception&) {
    // Without memory for one more message the peer has to wait for its own time limit.
  }
}

template <class Action>
void ConnectionExchange::post(Action action) {
  asio::post(thread_->io(),
             [connection = connection_, number = number_, action = std::move(action)]() mutable {
               if (const auto target = connection.lock()) action(*target, number);
             });
}

void ConnectionExchange::observe(std::weak_ptr<ExchangeObserver> observer) {
  // Dispatched, not posted: a handler mostly says so on the network thread, where it is done at once.
  asio::dispatch(thread_->io(), [connection = connection_, number = number_, observer = std::move(observer)] {
    if (const auto target = connection.lock()) {
      target->observe(number, observer);
    } else if (const auto told = observer.lock()) {
      told->gone();
    }
  });
}

void ConnectionExchange::respond(Response response) {
  if (phase_ != Phase::open) return;
  phase_ = Phase::done;
  post([response = std::move(response)](Connection& connection, std::uint64_t number) {
    connection.respond(number, response);
  });
}

void ConnectionExchange::start(Response head) {
  if (phase_ != Phase::open) return;
  phase_ = Phase::streaming;
  post([head = std::move(head)](Connection& connection, std::uint64_t number) {
    connection.start_stream(number, head);
  });
}

void ConnectionExchange::send(std::string bytes) {
  if (phase_ != Phase::streaming || bytes.empty()) return;
  post([bytes = std::move(bytes)](Connection& connection, std::uint64_t number) {
    connection.send(number, bytes);
  });
}

void ConnectionExchange::finish() {
  if (phase_ != Phase::streaming) return;
  phase_ = Phase::done;
  post([](Connection& connection, std::uint64_t number) { connection.finish(number); });
}

}  // namespace agenttask::server
