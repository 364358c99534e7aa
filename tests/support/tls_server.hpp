#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "tests/support/certificates.hpp"
#include "tests/support/system.hpp"

namespace agenttask::test {

/// A small TLS server on loopback that answers each request with the raw bytes that a test gives it. One
/// thread a connection.
class TlsServer {
 public:
  struct Request {
    std::string line;     ///< `POST /path HTTP/1.1`
    std::string headers;  ///< as they came
    std::string body;
    std::string client;               ///< subject of the client's certificate; empty: none
    bool resumed_connection = false;  ///< not the first request on it
  };
  /// Empty: the connection is closed without an answer.
  using Handler = std::function<std::string(const Request&)>;

  struct Settings {
    Credentials credentials;
    std::string client_authority = {};  ///< PEM: client certificates of it are required
    bool client_optional = false;       ///< or only looked at when one is shown
    int newest_tls = TLS1_3_VERSION;
  };

  TlsServer(const Settings& settings, Handler handler)
      : handler_(std::move(handler)), context_(make_context(settings)) {
    ignore_broken_pipes();
    acceptor_.reset(BIO_new_accept("127.0.0.1:0"));
    if (acceptor_ == nullptr || BIO_do_accept(acceptor_.get()) <= 0)
      throw std::runtime_error("the test server can't listen");
    port_ = std::stoi(BIO_get_accept_port(acceptor_.get()));
    thread_ = std::thread([this] { accept(); });
  }
  ~TlsServer() {
    stopping_ = true;
    int fd = -1;
    BIO_get_fd(acceptor_.get(), &fd);
    end_socket(fd);
    thread_.join();
    {
      const std::scoped_lock lock(mutex_);
      for (const auto& connection : connections_) end_socket(connection->fd);
    }
    for (const auto& connection : connections_) connection->thread.join();
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& path = "", const std::string& host = "localhost") const {
    return "https://" + host + ":" + std::to_string(port_) + path;
  }
  /// How many connections came so far, handshake or not.
  [[nodiscard]] std::size_t connections() const {
    const std::scoped_lock lock(mutex_);
    return connections_.size();
  }

  [[nodiscard]] static std::string answer(int status, const std::string& body,
                                          const std::string& headers = "") {
    return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n" + headers + "\r\n" + body;
  }

 private:
  template <auto function>
  struct Free {
    template <class T>
    void operator()(T* object) const {
      function(object);
    }
  };
  using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
  using Stream = std::unique_ptr<SSL, Free<SSL_free>>;
  using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;

  struct Connection {
    int fd = -1;
    std::thread thread;
  };

  static Context make_context(const Settings& settings) {
    Context context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_max_proto_version(context.get(), settings.newest_tls);
    SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>("test"), 4);
    const auto& [certificate_pem, key_pem] = settings.credentials;
    const Bio certificate_text(
        BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
    const Bio key_text(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
    const std::unique_ptr<X509, Free<X509_free>> certificate(
        PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
    const std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>> key(
        PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
    if (SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
      throw std::runtime_error("the test server's certificate does not fit");
    }
    if (!settings.client_authority.empty()) {
      const Bio text(BIO_new_mem_buf(settings.client_authority.data(),
                                     static_cast<int>(settings.client_authority.size())));
      const std::unique_ptr<X509, Free<X509_free>> authority(
          PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), authority.get());
      SSL_CTX_set_verify(
          context.get(),
          settings.client_optional ? SSL_VERIFY_PEER : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
          nullptr);
    }
    return context;
  }

  void accept() {
    while (!stopping_) {
      if (BIO_do_accept(acceptor_.get()) <= 0) break;
      Bio accepted(BIO_pop(acceptor_.get()));
      if (accepted == nullptr) continue;
      auto connection = std::make_unique<Connection>();
      BIO_get_fd(accepted.get(), &connection->fd);
      const std::scoped_lock lock(mutex_);
      if (stopping_) break;
      connection->thread = std::thread([this, raw = accepted.release()] { serve(Bio(raw)); });
      connections_.push_back(std::move(connection));
    }
    ERR_clear_error();
  }

  void serve(Bio socket) {
    const Stream stream(SSL_new(context_.get()));
    // The descriptor lives until the server ends, so that shutting it down can't hit another one.
    SSL_set_bio(stream.get(), socket.get(), socket.get());
    static_cast<void>(socket.release());
    if (SSL_accept(stream.get()) == 1) {
      std::string buffer;
      for (bool first = true; !stopping_; first = false) {
        auto request = read(stream.get(), buffer);
        if (!request) break;
        request->resumed_connection = !first;
        const std::string answer = handler_(*request);
        if (answer.empty()) break;
        if (SSL_write(stream.get(), answer.data(), static_cast<int>(answer.size())) <= 0) break;
      }
      SSL_shutdown(stream.get());
    }
    ERR_clear_error();
    int fd = -1;
    BIO_get_fd(SSL_get_rbio(stream.get()), &fd);
    // Reading to the end lets an alert reach the peer: closing with unread bytes would reset the connection.
    finish_socket(fd);
    const std::scoped_lock lock(mutex_);
    for (const auto& connection : connections_) {
      if (connection->fd == fd)
        connection->fd = -1;  // closed with the stream: the number may be given out again
    }
  }

  static bool fill(SSL* stream, std::string& buffer) {
    char bytes[16 * 1024];
    const int count = SSL_read(stream, bytes, sizeof bytes);
    if (count > 0) buffer.append(bytes, static_cast<std::size_t>(count));
    return count > 0;
  }

  static std::optional<Request> read(SSL* stream, std::string& buffer) {
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (!fill(stream, buffer)) return std::nullopt;
    }
    Request request;
    request.line = buffer.substr(0, buffer.find("\r\n"));
    request.headers = buffer.substr(request.line.size() + 2, end - request.line.size());
    std::size_t length = 0;
    if (const auto at = request.headers.find("Content-Length: "); at != std::string::npos) {
      length = std::stoul(request.headers.substr(at + 16));
    }
    while (buffer.size() < end + 4 + length) {
      if (!fill(stream, buffer)) return std::nullopt;
    }
    request.body = buffer.substr(end + 4, length);
    buffer.erase(0, end + 4 + length);
    if (const std::unique_ptr<X509, Free<X509_free>> peer(SSL_get1_peer_certificate(stream));
        peer != nullptr) {
      char name[128] = {};
      X509_NAME_get_text_by_NID(X509_get_subject_name(peer.get()), NID_commonName, name, sizeof name);
      request.client = name;
    }
    return request;
  }

  Handler handler_;
  Context context_;
  Bio acceptor_;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::thread thread_;
};

}  // namespace agenttask::test
