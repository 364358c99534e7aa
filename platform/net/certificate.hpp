#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

/// Keys, requests and certificates (X.509), with OpenSSL kept inside. Everything here is an immutable value,
/// cheap to copy. Errors: `invalid` for input that can't be read or does not fit, `denied` where a check of
/// trust fails. Threads: any.
struct x509_st;  // OpenSSL's X509

namespace agenttask::net {

class PrivateKey;
class Certificate;

/// A private key. Ours are P-256; a company's own may be RSA.
class PrivateKey {
 public:
  /// A new P-256 key.
  [[nodiscard]] static PrivateKey generate();
  /// One unencrypted key (PKCS#8 or the older forms), at least P-256 or RSA of 2048 bits.
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem);
  /// PKCS#8. Belongs in files of mode 0600 only.
  [[nodiscard]] std::string to_pem() const;
  /// SHA-256 of the public half (SubjectPublicKeyInfo), hexadecimal: the name of the key.
  [[nodiscard]] std::string public_key_digest() const;

  struct Body;
  [[nodiscard]] const Body& body() const { return *body_; }

 private:
  explicit PrivateKey(std::shared_ptr<const Body> body) : body_(std::move(body)) {}
  std::shared_ptr<const Body> body_;
};

/// A request for a certificate (PKCS#10), its signature proven: whoever made it holds the key.
class CertificateRequest {
 public:
  [[nodiscard]] static CertificateRequest make(const PrivateKey& key, std::string_view common_name);
  /// At most 16 KiB, one request, a P-256 key, and a signature that fits it.
  [[nodiscard]] static Result<CertificateRequest> from_pem(std::string_view pem);
  [[nodiscard]] std::string to_pem() const;
  [[nodiscard]] std::string common_name() const;  ///< what the requester wrote; nothing is granted by it
  [[nodiscard]] std::string public_key_digest() const;  ///< as of PrivateKey: the same key, the same digest

  struct Body;
  [[nodiscard]] const Body& body() const { return *body_; }

 private:
  explicit CertificateRequest(std::shared_ptr<const Body> body) : body_(std::move(body)) {}
  std::shared_ptr<const Body> body_;
};

/// What a certificate may be used for (extended key usage). Ours have exactly one.
enum class CertificatePurpose : std::uint8_t { server, client };

class Certificate {
 public:
  /// Exactly one certificate; other text around it is ignored.
  [[nodiscard]] static Result<Certificate> from_pem(std::string_view pem);
  /// One or more, in the order of the file: a server's chain begins with its own.
  [[nodiscard]] static Result<std::vector<Certificate>> list_from_pem(std::string_view pem);
  [[nodiscard]] static Result<Certificate> from_der(std::string_view der);
  /// What OpenSSL has read already, as of a TLS peer: to read it again costs as much as a signature.
  [[nodiscard]] static Certificate share(x509_st* certificate);

  [[nodiscard]] std::string to_pem() const;
  [[nodiscard]] std::string to_der() const;
  [[nodiscard]] std::string fingerprint() const;              ///< SHA-256 of the DER form, hexadecimal
  [[nodiscard]] std::string fingerprint_bytes() const;        ///< the same, 32 raw bytes
  [[nodiscard]] std::string common_name() const;              ///< of the subject; empty where it has none
  [[nodiscard]] std::vector<std::string> host_names() const;  ///< subject alternative names: DNS names
  [[nodiscard]] std::vector<std::string> addresses()
      const;  ///< subject alternative names: IP addresses, as text
  [[nodiscard]] UnixMilliseconds not_before() const;
  [[nodiscard]] UnixMilliseconds not_after() const;
  [[nodiscard]] std::string public_key_digest() const;
  [[nodiscard]] bool matches(const PrivateKey& key) const;
  [[nodiscard]] bool is_authority() const;  ///< basic constraints say CA
  /// By its extended key usage; one without it may be a server's, as RFC 5280 has it, but never a client's.
  [[nodiscard]] bool allows(CertificatePurpose purpose) const;
  /// Whether a client that asks for this host name or IP address would accept it.
  [[nodiscard]] bool covers(std::string_view host) const;
  /// Half of its life has passed at `now`: time to renew.
  [[nodiscard]] bool renewal_due(UnixMilliseconds now) const;

  struct Body;
  [[nodiscard]] const Body& body() const { return *body_; }
  explicit Certificate(std::shared_ptr<const Body> body) : body_(std::move(body)) {}

 private:
  std::shared_ptr<const Body> body_;
};

/// What an authority writes into a certificate.
struct CertificateContent {
  std::string common_name;
  std::vector<std::string> host_names;  ///< DNS names, or IP addresses as text: each becomes what it is
  CertificatePurpose purpose = CertificatePurpose::client;
  UnixMilliseconds not_before = 0;
  UnixMilliseconds not_after = 0;
};

/// A self-signed authority: may sign certificates and nothing below other authorities (path length 0).
[[nodiscard]] Result<Certificate> make_authority(const PrivateKey& key, std::string_view common_name,
                                                 UnixMilliseconds not_before, UnixMilliseconds not_after);

/// A certificate for the key of `request`. Only its key is taken from the request; what it says comes from
/// `content`. The end of its life is never past that of the authority.
[[nodiscard]] Result<Certificate> issue(const Certificate& authority, const PrivateKey& authority_key,
                                        const CertificateRequest& request, const CertificateContent& content);

enum class Expired : std::uint8_t { refused, accepted };

/// Whether `certificate` was issued under one of `authorities` (through `intermediates` where needed) for
/// `purpose`, and is valid at `now`. With `Expired::accepted` the certificate itself may be past its end (for
/// renewal). `denied` says why not.
[[nodiscard]] Result<void> verify(const Certificate& certificate, std::span<const Certificate> intermediates,
                                  std::span<const Certificate> authorities, CertificatePurpose purpose,
                                  UnixMilliseconds now, Expired expired = Expired::refused);

}  // namespace agenttask::net
