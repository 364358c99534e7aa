#pragma once
#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "server/api/outcome.hpp"
#include "server/http/http_server.hpp"
#include "server/http/ticket_keys.hpp"

/// What all connections share: certificate, trust in devices, versions, session tickets. Internal to
/// server/http.
namespace agenttask::server {

class TlsContext {
 public:
  /// Checks everything before it answers: that key and certificate fit, that the authority can be read.
  static Result<std::shared_ptr<TlsContext>> make(const TlsIdentity& identity,
                                                  std::shared_ptr<TicketKeys> keys);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  [[nodiscard]] SSL_CTX* native() const { return context_; }

 private:
  TlsContext(SSL_CTX* context, std::shared_ptr<TicketKeys> keys)
      : context_(context), keys_(std::move(keys)) {}
  SSL_CTX* context_;
  std::shared_ptr<TicketKeys> keys_;
};

/// After the handshake: null without a certificate; an error where it may not be used by a client. Resumed
/// sessions carry it too.
[[nodiscard]] Result<std::shared_ptr<const PeerCertificate>> peer_certificate(const SSL* connection);

/// The oldest error of OpenSSL's queue as text; the queue is empty afterwards.
[[nodiscard]] std::string take_openssl_error();

}  // namespace agenttask::server
