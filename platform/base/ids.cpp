#include "platform/base/ids.hpp"

#include <cctype>
#include <cstdint>
#include <stdexcept>

#include <openssl/rand.h>

#include "platform/base/encoding.hpp"

namespace agenttask {

std::string make_uuid(UnixMilliseconds now) {
  std::string bytes = random_bytes(16);
  const auto time = static_cast<std::uint64_t>(now);
  for (unsigned i = 0; i < 6; ++i) bytes[i] = static_cast<char>(time >> (40 - 8 * i));
  bytes[6] = static_cast<char>((static_cast<unsigned char>(bytes[6]) & 0x0FU) | 0x70U);  // version 7
  bytes[8] = static_cast<char>((static_cast<unsigned char>(bytes[8]) & 0x3FU) | 0x80U);  // RFC 9562 variant
  std::string text = hex_encode(bytes);
  for (const std::size_t dash : {8U, 13U, 18U, 23U}) text.insert(dash, 1, '-');
  return text;
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) return false;
  }
  return true;
}

std::string normalize_uuid(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) {
    throw std::runtime_error("the system has no random source");
  }
  return bytes;
}

double random_fraction() {
  const std::string bytes = random_bytes(4);
  std::uint32_t value = 0;
  for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
  return static_cast<double>(value) / 4294967296.0;
}

}  // namespace agenttask
