#include "platform/base/path_text.hpp"

#include <string>

#include "platform/base/encoding.hpp"

namespace agenttask {

std::filesystem::path to_path(std::string_view text) {
  // Bytes that are no text name a file all the same where names are bytes.
  if (!is_utf8(text)) return {std::string(text)};
  return {std::u8string(text.begin(), text.end())};
}

}  // namespace agenttask
