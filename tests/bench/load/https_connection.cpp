#include "tests/bench/load/https_connection.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <optional>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <openssl/err.h>

namespace agenttask::bench {
namespace {

constexpr std::size_t kMostHead = 16 * 1024;

struct Head {
  int status = 0;
  std::size_t bytes = 0;  ///< of the head
  std::size_t body_bytes = 0;
  bool closes = false;
};

std::optional<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  const auto done = std::from_chars(text.data(), text.data() + text.size(), value);
  if (done.ec != std::errc() || done.ptr == text.data()) return std::nullopt;
  return value;
}

/// A header's value, where the server writes the name as we look for it.
std::optional<std::string_view> header(std::string_view head, std::string_view name) {
  const auto at = head.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  const auto begin = at + name.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

/// Nothing yet, or the head; its status is 0 where it is none that we understand.
std::optional<Head> read_head(std::string_view text) {
  const auto end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return text.size() > kMostHead ? std::optional(Head{}) : std::nullopt;
  const auto lines = text.substr(0, end + 2);
  Head head;
  if (!lines.starts_with("HTTP/1.1 ")) return head;
  const auto status = number(lines.substr(9, 3));
  const auto length = header(lines, "\r\nContent-Length: ");
  const bool bodiless = status == 204U || status == 304U;
  if (!status || (!length && !bodiless)) return head;
  head.status = static_cast<int>(*status);
  head.bytes = end + 4;
  head.body_bytes = length ? number(*length).value_or(0) : 0;
  head.closes = lines.find("\r\nConnection: close\r\n") != std::string_view::npos;
  return head;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

std::string request_text(std::string_view method, std::string_view target, std::string_view headers,
                         std::string_view body) {
  std::string text;
  text.reserve(160 + headers.size() + target.size() + body.size());
  text.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: 127.0.0.1\r\n").append(headers);
  if (method != "GET")
    text.append("Content-Type: application/json\r\nContent-Length: ")
        .append(std::to_string(body.size()))
        .append("\r\n");
  return text.append("\r\n").append(body);
}

HttpsConnection::HttpsConnection(EventLoop& loop, const TlsClient& tls, std::uint16_t port,
                                 TlsIdentity* identity, Handshakes& handshakes)
    : loop_(loop), tls_(tls), identity_(identity), handshakes_(handshakes), port_(port) {}

void HttpsConnection::send(std::string request, Done done, std::function<void()> sent) {
  out_ = std::move(request);
  out_taken_ = 0;
  done_ = std::move(done);
  sent_ = std::move(sent);
  if (step_ == Step::closed) {
    if (!open()) fail(std::string("connect: ") + std::strerror(errno));
    return;
  }
  if (step_ == Step::open) write();
}

bool HttpsConnection::open() {
  descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) return false;
  const int yes = 1;
  ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const auto address = loopback(port_);
  if (::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS) {
    return false;
  }
  step_ = Step::connecting;
  wants_write_ = true;
  loop_.watch(descriptor_, EPOLLIN | EPOLLOUT, *this);
  return true;
}

void HttpsConnection::close() {
  if (descriptor_ >= 0) {
    if (step_ != Step::closed) loop_.forget(descriptor_, *this);
    // Otherwise OpenSSL takes it for broken off and lets nobody resume its session.
    if (connection_) SSL_set_shutdown(connection_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    connection_.reset();
    ::close(descriptor_);
  }
  descriptor_ = -1;
  step_ = Step::closed;
  done_ = {};
  sent_ = {};
  std::string().swap(out_);
  std::string().swap(in_);
  out_taken_ = 0;
}

void HttpsConnection::fail(std::string problem) {
  auto done = std::exchange(done_, {});
  close();
  if (done) {
    loop_.later([done = std::move(done), problem = std::move(problem)] { done(Answer{0, {}, problem}); });
  } else if (lost_) {
    loop_.later(lost_);
  }
}

void HttpsConnection::ready(std::uint32_t) {
  if (step_ == Step::connecting) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return fail(std::string("connect: ") + std::strerror(error));
    connection_ = tls_.connect(descriptor_, identity_);
    step_ = Step::handshaking;
  }
  advance();
}

void HttpsConnection::advance() {
  if (step_ == Step::handshaking) handshake();
  if (step_ == Step::open && out_taken_ < out_.size()) write();
  if (step_ == Step::open) read();
}

bool HttpsConnection::waits(int result, const char* what) {
  switch (SSL_get_error(connection_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      want_write(false);
      return true;
    case SSL_ERROR_WANT_WRITE:
      want_write(true);
      return true;
    case SSL_ERROR_ZERO_RETURN:
      fail(std::string(what) + ": the server ended the connection");
      return false;
    default: {
      const auto reason = tls_problem();
      fail(std::string(what) + ": " + (reason.empty() ? "the connection was cut" : reason));
      return false;
    }
  }
}

void HttpsConnection::want_write(bool wanted) {
  if (wanted == wants_write_) return;
  wants_write_ = wanted;
  loop_.change(descriptor_, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
}

void HttpsConnection::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(connection_.get());
  if (result != 1) {
    static_cast<void>(waits(result, "handshake"));
    return;
  }
  step_ = Step::open;
  want_write(false);
  ++(SSL_session_reused(connection_.get()) == 1 ? handshakes_.resumed : handshakes_.full);
}

void HttpsConnection::write() {
  while (out_taken_ < out_.size()) {
    ERR_clear_error();
    std::size_t taken = 0;
    const int result =
        SSL_write_ex(connection_.get(), out_.data() + out_taken_, out_.size() - out_taken_, &taken);
    if (result != 1) {
      static_cast<void>(waits(result, "write"));
      return;
    }
    out_taken_ += taken;
  }
  want_write(false);
  std::string().swap(out_);
  out_taken_ = 0;
  if (auto sent = std::exchange(sent_, {})) sent();
}

void HttpsConnection::read() {
  std::array<char, 16 * 1024> buffer;
  while (step_ == Step::open) {
    ERR_clear_error();
    std::size_t bytes = 0;
    const int result = SSL_read_ex(connection_.get(), buffer.data(), buffer.size(), &bytes);
    if (result != 1) {
      static_cast<void>(waits(result, "read"));
      return;
    }
    in_.append(buffer.data(), bytes);
    if (!take_answer()) return;
  }
}

/// False when the connection was closed or is used by somebody else now.
bool HttpsConnection::take_answer() {
  const auto head = read_head(in_);
  if (!head) return true;
  if (head->status == 0 || !done_) {
    fail("what the server says is no answer");
    return false;
  }
  if (in_.size() < head->bytes + head->body_bytes) return true;
  Answer answer{head->status, in_.substr(head->bytes, head->body_bytes), {}};
  std::string().swap(in_);
  auto done = std::exchange(done_, {});
  if (head->closes) close();
  loop_.later([done = std::move(done), answer = std::move(answer)]() mutable { done(std::move(answer)); });
  return step_ == Step::open;
}

}  // namespace agenttask::bench
