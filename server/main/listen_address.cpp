#include "server/main/listen_address.hpp"

#include "platform/settings/values.hpp"

namespace agenttask::server {

Result<std::pair<std::string, int>> parse_listen(std::string_view text) {
  const auto wrong =
      settings::expected("an IP address, with or without a port: 0.0.0.0, 127.0.0.1:8443, [::1]:8443");
  std::string_view address = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return wrong;
    address = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos && text.rfind(':') == colon) {
    address = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (address.empty()) return wrong;
  if (port.empty()) return std::pair(std::string(address), -1);
  if (port.front() != ':') return wrong;
  const auto number = settings::parse_number(port.substr(1), 0, 65'535);
  if (!number) return wrong;
  return std::pair(std::string(address), static_cast<int>(*number));
}

}  // namespace agenttask::server
