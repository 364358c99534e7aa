#include "platform/protocol/chain.hpp"

#include "platform/base/encoding.hpp"

namespace agenttask {

Cursor advance(const Cursor& cursor, std::string_view line) {
  const auto so_far = hex_decode(cursor.chain);
  std::string input = so_far ? *so_far : std::string();
  input += line;
  return {cursor.sequence + 1, hex_encode(sha256(input))};
}

}  // namespace agenttask
