#include "platform/net/enrollment_token.hpp"

#include <algorithm>
#include <utility>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"

namespace agenttask::net {
namespace {

constexpr std::size_t kSecretBytes = 24;
constexpr std::size_t kFingerprintBytes = 32;
constexpr std::size_t kSecretCharacters = 32;
constexpr std::size_t kFingerprintCharacters = 43;

Result<std::string> decode_part(std::string_view part, std::size_t bytes) {
  std::string text(part);
  for (char& c : text) {
    if (c == '+' || c == '/' || c == '=') return Error{ErrorCode::invalid, "not base64url"};
    if (c == '-') c = '+';
    if (c == '_') c = '/';
  }
  text.append((4 - text.size() % 4) % 4, '=');
  auto decoded = base64_decode(text);
  // The last character has bits to spare: only the spelling with zeroes there is ours.
  if (!decoded || decoded->size() != bytes || base64url_encode(*decoded) != part) {
    return Error{ErrorCode::invalid, "not base64url"};
  }
  return decoded;
}

}  // namespace

EnrollmentToken make_enrollment_token(std::string_view authority_fingerprint) {
  auto secret = random_bytes(kSecretBytes);
  // On a command line a token that begins with a dash would be taken for an option.
  while (base64url_encode(secret).starts_with('-')) secret = random_bytes(kSecretBytes);
  return {std::move(secret), std::string(authority_fingerprint)};
}

std::string encode(const EnrollmentToken& token) {
  return base64url_encode(token.secret) + "." + base64url_encode(token.authority_fingerprint);
}

Result<EnrollmentToken> parse_enrollment_token(std::string_view text) {
  const Error error{
      ErrorCode::invalid,
      "not an enrolment token: it has 76 characters, two parts with a dot between, as agenttask-server "
      "token create prints it; was it cut off, or something added?"};
  if (text.size() != kSecretCharacters + 1 + kFingerprintCharacters || text[kSecretCharacters] != '.')
    return error;
  auto secret = decode_part(text.substr(0, kSecretCharacters), kSecretBytes);
  auto fingerprint = decode_part(text.substr(kSecretCharacters + 1), kFingerprintBytes);
  if (!secret || !fingerprint) return error;
  return EnrollmentToken{*std::move(secret), *std::move(fingerprint)};
}

std::string secret_digest(const EnrollmentToken& token) {
  return hex_encode(sha256(token.secret));
}

}  // namespace agenttask::net
