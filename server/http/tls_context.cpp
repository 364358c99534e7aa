#include "server/http/tls_context.hpp"

#include <algorithm>
#include <array>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "platform/net/certificate.hpp"

namespace agenttask::server {
namespace {

template <auto Free>
struct Release {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Release<BIO_free>>;
using X509Pointer = std::unique_ptr<X509, Release<X509_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using ContextPointer = std::unique_ptr<SSL_CTX, Release<SSL_CTX_free>>;

constexpr long kSessionSeconds = 24L * 3600;  // as long as a ticket key seals
// One certificate and its key: nothing bigger is a client's.
constexpr int kVerifyDepth = 2;

Error refused(std::string what) {
  auto message = "cannot use " + std::move(what);
  if (const auto reason = take_openssl_error(); !reason.empty()) message += ": " + reason;
  return Error{ErrorCode::invalid, std::move(message)};
}

Bio read_only(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Seals and opens session tickets with our own keys (RFC 5077, section 4), as OpenSSL asks for them.
int ticket_key(SSL* connection, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
               EVP_MAC_CTX* mac, int seal) {
  const auto* keys = static_cast<const TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection)));
  bool current = true;
  std::optional<TicketKeys::Key> key;
  if (seal != 0) {
    key = keys->current();
    if (!key) return 0;  // no ticket then
    std::copy(key->name.begin(), key->name.end(), name);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  } else {
    const auto found = keys->find({reinterpret_cast<const char*>(name), 16});
    if (!found) return 0;  // a full handshake then
    key = found->key;
    current = found->current;
  }
  char digest[] = "SHA256";
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac.data(), key->mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  if (EVP_MAC_CTX_set_params(mac, parameters.data()) != 1) return -1;
  if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher.data(), iv, seal != 0 ? 1 : 0) != 1)
    return -1;
  if (seal != 0) return 1;
  // A client of TLS 1.3 uses a ticket once (RFC 8446, appendix C.4): without another its next handshake would
  // be a full one.
  return current && SSL_version(connection) < TLS1_3_VERSION ? 1 : 2;
}

/// HTTP/1.1 where the peer offers it, else HTTP/1.0; peers that offer nothing are served the same way.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* length, const unsigned char* offered,
                    unsigned int offered_length, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1\x08http/1.0";
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, length, kOurs, sizeof kOurs - 1, offered, offered_length) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = selected;
  return SSL_TLSEXT_ERR_OK;
}

Result<void> use_certificate(SSL_CTX* context, const TlsIdentity& identity) {
  const auto chain = read_only(identity.certificate_chain);
  const X509Pointer leaf(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return refused("the server's certificate");
  while (X509Pointer next{PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)}) {
    if (SSL_CTX_add0_chain_cert(context, next.get()) != 1) return refused("the server's certificate chain");
    static_cast<void>(next.release());
  }
  ERR_clear_error();  // the end of the file reads as an error
  const auto text = read_only(identity.private_key);
  const KeyPointer key(PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1) return refused("the server's private key");
  if (SSL_CTX_check_private_key(context) != 1)
    return refused("the server's private key with its certificate");
  return {};
}

/// Ours always say what they are for; a certificate that says nothing would pass as every purpose.
bool is_for_clients(X509* certificate) {
  return (X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) != 0 &&
         (X509_get_extended_key_usage(certificate) & XKU_SSL_CLIENT) != 0;
}

int verify_device(int accepted, X509_STORE_CTX* verification) {
  if (accepted != 1 || X509_STORE_CTX_get_error_depth(verification) != 0) return accepted;
  if (is_for_clients(X509_STORE_CTX_get_current_cert(verification))) return 1;
  X509_STORE_CTX_set_error(verification, X509_V_ERR_INVALID_PURPOSE);
  return 0;
}

Result<void> trust_devices(SSL_CTX* context, const TlsIdentity& identity) {
  const auto text = read_only(identity.device_authority);
  const X509Pointer authority(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  if (!authority) return refused("the authority for devices");
  auto* store = SSL_CTX_get_cert_store(context);
  if (X509_STORE_add_cert(store, authority.get()) != 1 ||
      SSL_CTX_add_client_CA(context, authority.get()) != 1) {
    return refused("the authority for devices");
  }
  // Our authority alone issues them, and whether one is still good is decided on each request: an expired one
  // may renew.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_NO_CHECK_TIME);
  SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, verify_device);
  SSL_CTX_set_verify_depth(context, kVerifyDepth);
  return {};
}

Result<void> set_up_sessions(SSL_CTX* context, TicketKeys* keys) {
  static constexpr unsigned char kSessionContext[] = "agenttask";
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets only: no memory of ours
  SSL_CTX_set_timeout(context, kSessionSeconds);
  SSL_CTX_set_app_data(context, keys);
  // One, not OpenSSL's two: each has the client's certificate in it, which is read again to make it, and that
  // costs as much as the key exchange. Whoever connects again gets another.
  SSL_CTX_set_num_tickets(context, 1);
  if (SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext - 1) != 1 ||
      SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_key) != 1) {
    return refused("session tickets");
  }
  return {};
}

}  // namespace

std::string take_openssl_error() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return {};
  const auto* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "OpenSSL error " + std::to_string(code);
}

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsIdentity& identity,
                                                     std::shared_ptr<TicketKeys> keys) {
  ERR_clear_error();
  ContextPointer context(SSL_CTX_new(TLS_server_method()));
  if (!context) return refused("TLS");
  SSL_CTX_set_min_proto_version(context.get(), identity.allow_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
  // A record and what follows it with one call to the system, not two and more.
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
    return refused("TLS 1.2's ciphers");
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  if (auto done = use_certificate(context.get(), identity); !done) return done.error();
  if (auto done = trust_devices(context.get(), identity); !done) return done.error();
  if (auto done = set_up_sessions(context.get(), keys.get()); !done) return done.error();
  return std::shared_ptr<TlsContext>(new TlsContext(context.release(), std::move(keys)));
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

namespace {

/// Ours begin an hour before they are issued, or a fifth of their whole life where that is short
/// (server/authority).
UnixMilliseconds issued_at(const net::Certificate& certificate) {
  constexpr UnixMilliseconds kHour = 3'600'000;
  const UnixMilliseconds whole = certificate.not_after() - certificate.not_before();
  return certificate.not_before() + std::min(kHour, whole / 5);
}

}  // namespace

Result<std::shared_ptr<const PeerCertificate>> peer_certificate(const SSL* connection) {
  auto* certificate = SSL_get0_peer_certificate(connection);
  if (certificate == nullptr) return std::shared_ptr<const PeerCertificate>();
  const auto shown = net::Certificate::share(certificate);
  // The handshake has seen to it; a resumed session saw an older handshake.
  if (!shown.allows(net::CertificatePurpose::client) || shown.common_name().empty()) {
    return Error{ErrorCode::denied, "the peer's certificate is not one of a device"};
  }
  return std::make_shared<const PeerCertificate>(
      PeerCertificate{shown.fingerprint(), shown.common_name(), issued_at(shown), shown.not_after()});
}

}  // namespace agenttask::server
