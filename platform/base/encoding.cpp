#include "platform/base/encoding.hpp"

#include <array>

#include <openssl/evp.h>
#include <openssl/sha.h>

namespace agenttask {
namespace {

unsigned byte_at(std::string_view bytes, std::size_t index) {
  return static_cast<unsigned char>(bytes[index]);
}

/// The length that a lead byte announces; 0 where it can't lead.
std::size_t sequence_length(unsigned lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

/// The range of the second byte, which excludes overlong forms, surrogates and what is past U+10FFFF (RFC
/// 3629, section 4).
bool second_byte_fits(unsigned lead, unsigned second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

/// The length of the well-formed sequence at `at`, 0 where there is none.
std::size_t well_formed_at(std::string_view bytes, std::size_t at) {
  const unsigned lead = byte_at(bytes, at);
  const std::size_t length = sequence_length(lead);
  if (length == 0 || at + length > bytes.size()) return 0;
  if (length > 1 && !second_byte_fits(lead, byte_at(bytes, at + 1))) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte_at(bytes, at + i) & 0xC0U) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = well_formed_at(bytes, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::size_t incomplete_utf8_tail(std::string_view bytes) {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const unsigned lead = byte_at(bytes, bytes.size() - back);
    if ((lead & 0xC0U) == 0x80) continue;
    const std::size_t length = sequence_length(lead);
    if (length <= back) return 0;
    return back == 1 || second_byte_fits(lead, byte_at(bytes, bytes.size() - back + 1)) ? back : 0;
  }
  return 0;
}

std::string base64_encode(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

Result<std::string> base64_decode(std::string_view text) {
  const Error error{ErrorCode::invalid, "not base64 (RFC 4648, with padding, no white space)"};
  if (text.size() % 4 != 0) return error;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  // OpenSSL's decoder forgives white space and counts padding as zero bytes: both are settled here.
  for (const char c : text.substr(0, text.size() - padding)) {
    const bool fits =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (!fits) return error;
  }
  std::string bytes(text.size() / 4 * 3, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0) return error;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return bytes;
}

std::string base64url_encode(std::string_view bytes) {
  std::string text = base64_encode(bytes);
  while (!text.empty() && text.back() == '=') text.pop_back();
  for (char& c : text) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  return text;
}

std::string hex_encode(std::string_view bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text += digits[byte_at(bytes, i) >> 4U];
    text += digits[byte_at(bytes, i) & 0xFU];
  }
  return text;
}

Result<std::string> hex_decode(std::string_view text) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const Error error{ErrorCode::invalid, "not hexadecimal"};
  if (text.size() % 2 != 0) return error;
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return error;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace agenttask
