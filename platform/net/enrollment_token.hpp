#pragma once
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask::net {

/// The one string with which a device enrols (docs/protocol.md): who may, and whom to trust.
struct EnrollmentToken {
  std::string secret;                 ///< 24 raw bytes
  std::string authority_fingerprint;  ///< SHA-256 of the authority's certificate (DER), 32 raw bytes
  bool operator==(const EnrollmentToken&) const = default;
};

/// A new secret for the authority with this fingerprint (32 raw bytes).
[[nodiscard]] EnrollmentToken make_enrollment_token(std::string_view authority_fingerprint);

/// `SECRET.FINGERPRINT`, both base64url: 32 and 43 characters.
[[nodiscard]] std::string encode(const EnrollmentToken& token);

/// Strict: exactly that form, in its one spelling. `invalid` otherwise; the message never repeats the token.
[[nodiscard]] Result<EnrollmentToken> parse_enrollment_token(std::string_view text);

/// What a server stores of a token: SHA-256 of the secret, hexadecimal. The secret is random, so a plain hash
/// suffices.
[[nodiscard]] std::string secret_digest(const EnrollmentToken& token);

}  // namespace agenttask::net
