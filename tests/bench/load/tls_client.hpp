#pragma once
#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

namespace agenttask::bench {

struct FreeSsl {
  void operator()(SSL* connection) const { SSL_free(connection); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

/// Who a client is to the server, and the session that it may resume. Without a certificate: anybody.
struct TlsIdentity {
  TlsIdentity() = default;
  /// Read once: OpenSSL takes its time to read a key, and a load must not spend that at each handshake.
  TlsIdentity(std::string_view certificate_pem, std::string_view key_pem);

  std::unique_ptr<X509, FreeSsl> certificate;
  std::unique_ptr<EVP_PKEY, FreeSsl> key;
  std::unique_ptr<SSL_SESSION, FreeSsl> session;
};

/// What all connections to servers of one authority share: TLS 1.3 alone, the server's certificate checked
/// for 127.0.0.1, sessions kept with the identity that they are of.
class TlsClient {
 public:
  explicit TlsClient(std::string_view authority_pem);
  /// Over a connected or connecting non-blocking socket. `identity` outlives the connection.
  [[nodiscard]] std::unique_ptr<SSL, FreeSsl> connect(int descriptor, TlsIdentity* identity) const;

 private:
  std::unique_ptr<SSL_CTX, FreeSsl> context_;
};

/// What OpenSSL's queue of errors says first; empties it.
[[nodiscard]] std::string tls_problem();

}  // namespace agenttask::bench
