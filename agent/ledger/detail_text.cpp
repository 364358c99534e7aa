#include "agent/ledger/detail_text.hpp"

#include "platform/base/encoding.hpp"

namespace agenttask::agent {

std::string to_detail(std::string_view text) {
  constexpr std::string_view kMore = " ...";
  std::string detail(text.substr(0, kDetailBytes));
  if (text.size() > kDetailBytes) {
    detail.resize(kDetailBytes - kMore.size());
    detail.resize(detail.size() - incomplete_utf8_tail(detail));
    detail += kMore;
  }
  if (is_utf8(detail)) return detail;
  for (char& c : detail) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return detail;
}

}  // namespace agenttask::agent
