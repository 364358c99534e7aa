#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask::net {

constexpr std::uint16_t kDefaultPort = 8443;

/// Where a server is: `https://host:port`, nothing more.
struct ServerUrl {
  std::string host;  ///< lower case; an IPv6 address without brackets
  std::uint16_t port = kDefaultPort;
  /// `https://host:port`, without a slash at the end; IPv6 in brackets. A path is appended as it is.
  [[nodiscard]] std::string to_string() const;
  bool operator==(const ServerUrl&) const = default;
};

/// Reads what a person or a file gives: `https://host`, `host`, `host:port`, `https://[::1]:9443/`. Refused
/// with `invalid`: other schemes, user names, paths, queries, fragments, and what is no host name or address.
[[nodiscard]] Result<ServerUrl> parse_server_url(std::string_view text);

/// `http://host:port` (or https, socks5h) of a proxy, checked; empty stays empty. Name and password may be in
/// it.
[[nodiscard]] Result<std::string> check_proxy_url(std::string_view text);

/// One segment of a path, or a name or value of a query, with everything but unreserved characters
/// percent-encoded.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace agenttask::net
