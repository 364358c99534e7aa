// What an idle long poll costs with OpenSSL alone: accepts connections with client certificates, reads a
// request of each, and never answers. The floor for the server's memory of an idle device. usage:
// floor_idle_tls PORT SERVER_PEM AUTHORITY_PEM; prints "ready" when it listens.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <openssl/ssl.h>

namespace {

struct FreeSsl {
  void operator()(SSL* connection) const { SSL_free(connection); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, FreeSsl>;

void require(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::exit(1);
}

Context make_context(const char* server_pem, const char* authority_pem) {
  Context context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kName[] = "floor";
  SSL_CTX_set_session_id_context(context.get(), kName, sizeof kName - 1);
  require(SSL_CTX_use_certificate_file(context.get(), server_pem, SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_use_PrivateKey_file(context.get(), server_pem, SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_load_verify_locations(context.get(), authority_pem, nullptr) == 1,
          "cannot use the certificates");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

int listen_on(std::uint16_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int yes = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
              ::listen(listener, 4096) == 0,
          "cannot listen");
  return listener;
}

class Floor {
 public:
  Floor(Context context, int listener)
      : context_(std::move(context)), listener_(listener), epoll_(epoll_create1(0)) {
    watch(listener_);
  }

  void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      require(count >= 0 || errno == EINTR, "epoll_wait");
      for (int i = 0; i < count; ++i) {
        const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
        if (descriptor == listener_) {
          accept_all();
        } else {
          advance(descriptor);
        }
      }
    }
  }

 private:
  void watch(int descriptor) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    require(epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0, "epoll_ctl");
  }

  void accept_all() {
    for (;;) {
      const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (descriptor < 0) return;
      const int yes = 1;
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      const auto index = static_cast<std::size_t>(descriptor);
      if (connections_.size() <= index) connections_.resize(index + 1);
      connections_[index].reset(SSL_new(context_.get()));
      SSL_set_fd(connections_[index].get(), descriptor);
      SSL_set_accept_state(connections_[index].get());
      watch(descriptor);
    }
  }

  /// The handshake, then whatever comes, until the peer goes. The answers of a handshake fit into a socket.
  void advance(int descriptor) {
    auto& connection = connections_[static_cast<std::size_t>(descriptor)];
    std::array<char, 16 * 1024> buffer;
    for (;;) {
      const int result = SSL_read(connection.get(), buffer.data(), buffer.size());
      if (result > 0) continue;
      if (SSL_get_error(connection.get(), result) == SSL_ERROR_WANT_READ) return;
      connection.reset();
      ::close(descriptor);
      return;
    }
  }

  Context context_;
  int listener_;
  int epoll_;
  std::vector<std::unique_ptr<SSL, FreeSsl>> connections_;
};

}  // namespace

int main(int count, char** words) {
  if (count != 4) {
    std::fputs("usage: floor_idle_tls PORT SERVER_PEM AUTHORITY_PEM\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  Floor floor(make_context(words[2], words[3]), listen_on(static_cast<std::uint16_t>(std::stoul(words[1]))));
  std::puts("ready");
  std::fflush(stdout);
  floor.run();
}
