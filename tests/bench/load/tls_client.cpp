#include "tests/bench/load/tls_client.hpp"

#include <stdexcept>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace agenttask::bench {
namespace {

constexpr int kIdentity = 0;  // OpenSSL's slot for data of the application

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

Bio reader(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

int keep_session(SSL* connection, SSL_SESSION* session) {
  auto* identity = static_cast<TlsIdentity*>(SSL_get_ex_data(connection, kIdentity));
  if (identity == nullptr) return 0;
  identity->session.reset(session);
  return 1;
}

void require(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("TLS: ") + what + ": " + tls_problem());
}

}  // namespace

std::string tls_problem() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason != nullptr ? reason : "";
}

TlsIdentity::TlsIdentity(std::string_view certificate_pem, std::string_view key_pem) {
  const Bio certificate_text = reader(certificate_pem);
  const Bio key_text = reader(key_pem);
  certificate.reset(PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
  key.reset(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  require(certificate && key, "cannot read a device's certificate");
}

TlsClient::TlsClient(std::string_view authority_pem) : context_(SSL_CTX_new(TLS_client_method())) {
  require(context_ != nullptr, "cannot make a context");
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION);
  SSL_CTX_set_mode(context_.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const Bio text = reader(authority_pem);
  const std::unique_ptr<X509, FreeSsl> authority(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  require(authority && X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), authority.get()) == 1,
          "cannot use the authority");
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context_.get(), keep_session);
}

std::unique_ptr<SSL, FreeSsl> TlsClient::connect(int descriptor, TlsIdentity* identity) const {
  std::unique_ptr<SSL, FreeSsl> connection(SSL_new(context_.get()));
  require(connection && SSL_set_fd(connection.get(), descriptor) == 1, "cannot make a connection");
  require(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection.get()), "127.0.0.1") == 1,
          "cannot name the server");
  if (identity != nullptr) {
    SSL_set_ex_data(connection.get(), kIdentity, identity);
    if (identity->certificate) {
      require(SSL_use_certificate(connection.get(), identity->certificate.get()) == 1 &&
                  SSL_use_PrivateKey(connection.get(), identity->key.get()) == 1,
              "cannot use a device's certificate");
    }
    if (identity->session) SSL_set_session(connection.get(), identity->session.get());
  }
  SSL_set_connect_state(connection.get());
  return connection;
}

}  // namespace agenttask::bench
