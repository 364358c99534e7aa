#include "server/http/tls_stream.hpp"

#include <openssl/err.h>
#include <openssl/x509.h>

namespace agenttask::server {

TlsStream::TlsStream(std::shared_ptr<TlsContext> context, int descriptor)
    : context_(std::move(context)), connection_(SSL_new(context_->native())) {
  if (!connection_ || SSL_set_fd(connection_.get(), descriptor) != 1) {
    broken_ = true;
    problem_ = take_openssl_error();
    return;
  }
  SSL_set_accept_state(connection_.get());
}

TlsStream::Status TlsStream::status_of(int result) {
  switch (SSL_get_error(connection_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Status::wants_read;
    case SSL_ERROR_WANT_WRITE:
      return Status::wants_write;
    case SSL_ERROR_ZERO_RETURN:
      return Status::closed;
    default:
      break;
  }
  // After this OpenSSL must not be called for the connection again, not even to say goodbye.
  broken_ = true;
  const auto reason = ERR_GET_REASON(ERR_peek_error());
  if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    ERR_clear_error();
    return Status::closed;
  }
  peer_spoke_http_ = reason == SSL_R_HTTP_REQUEST;
  problem_ = take_openssl_error();
  if (problem_.empty()) problem_ = "the connection was cut";
  return Status::failed;
}

TlsStream::Status TlsStream::handshake() {
  if (broken_) return Status::failed;
  ERR_clear_error();
  const int result = SSL_do_handshake(connection_.get());
  if (result != 1) return status_of(result);
  forget_chain();
  return Status::done;
}

/// The authorities' certificates that the peer sent beside its own, as OpenSSL's clients do: the handshake
/// has looked at them, and as long as the connection lives nobody will again.
void TlsStream::forget_chain() {
  auto* chain = SSL_get_peer_cert_chain(connection_.get());
  while (chain != nullptr && sk_X509_num(chain) > 0) X509_free(sk_X509_pop(chain));
}

TlsStream::Progress TlsStream::read(std::span<char> buffer) {
  if (broken_) return {Status::failed};
  ERR_clear_error();
  std::size_t bytes = 0;
  const int result = SSL_read_ex(connection_.get(), buffer.data(), buffer.size(), &bytes);
  return result == 1 ? Progress{Status::done, bytes} : Progress{status_of(result)};
}

TlsStream::Progress TlsStream::write(std::string_view bytes) {
  if (broken_) return {Status::failed};
  ERR_clear_error();
  std::size_t written = 0;
  const int result = SSL_write_ex(connection_.get(), bytes.data(), bytes.size(), &written);
  return result == 1 ? Progress{Status::done, written} : Progress{status_of(result)};
}

void TlsStream::shut_down() {
  if (broken_ || SSL_in_init(connection_.get()) != 0) return;
  ERR_clear_error();
  SSL_shutdown(connection_.get());
  ERR_clear_error();
  broken_ = true;
}

}  // namespace agenttask::server
