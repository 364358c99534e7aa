#pragma once
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask {

/// Whether the bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
[[nodiscard]] bool is_utf8(std::string_view bytes);

/// How many bytes at the end of `bytes` begin a UTF-8 sequence that is cut off (0 to 3). Chunks are split
/// before them.
[[nodiscard]] std::size_t incomplete_utf8_tail(std::string_view bytes);

/// Base64 with padding (RFC 4648, section 4).
[[nodiscard]] std::string base64_encode(std::string_view bytes);
/// Strict: no white space, padding required. `invalid` otherwise.
[[nodiscard]] Result<std::string> base64_decode(std::string_view text);
/// Base64 for URLs without padding (RFC 4648, section 5): tokens.
[[nodiscard]] std::string base64url_encode(std::string_view bytes);

/// Lower-case hexadecimal.
[[nodiscard]] std::string hex_encode(std::string_view bytes);
[[nodiscard]] Result<std::string> hex_decode(std::string_view text);

/// SHA-256 (FIPS 180-4), 32 raw bytes.
[[nodiscard]] std::string sha256(std::string_view bytes);

}  // namespace agenttask
