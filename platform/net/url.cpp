#include "platform/net/url.hpp"

#include <algorithm>

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "platform/base/error_text.hpp"

namespace agenttask::net {
namespace {

constexpr std::size_t kUrlBytes = 2048;

Error not_a_url(std::string_view text, std::string_view why) {
  return Error{ErrorCode::invalid, "\"" + excerpt(text, 200) + "\" is no server's URL: " + std::string(why) +
                                       "; expected https://HOST[:PORT]"};
}

bool is_host_name(std::string_view host) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  };
  return !host.empty() && host.size() <= 253 && host.front() != '.' && host.front() != '-' &&
         host.find("..") == std::string_view::npos && std::all_of(host.begin(), host.end(), fits);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

/// Host without brackets; empty where it is none.
std::string host_of(const boost::urls::url_view& url) {
  switch (url.host_type()) {
    case boost::urls::host_type::ipv4:
      return std::string(url.encoded_host());
    case boost::urls::host_type::ipv6:
      return lower(url.host_ipv6_address().to_string());
    case boost::urls::host_type::name: {
      std::string host = lower(std::string_view(url.encoded_host().data(), url.encoded_host().size()));
      return is_host_name(host) ? host : std::string();
    }
    default:
      return {};
  }
}

}  // namespace

std::string ServerUrl::to_string() const {
  const bool bracketed = host.find(':') != std::string::npos;
  return "https://" + (bracketed ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<ServerUrl> parse_server_url(std::string_view text) {
  if (text.empty() || text.size() > kUrlBytes) return not_a_url(text, "it is empty or too long");
  const std::string whole =
      (text.find("://") == std::string_view::npos ? "https://" : "") + std::string(text);
  const auto parsed = boost::urls::parse_uri(whole);
  if (!parsed) return not_a_url(text, parsed.error().message());
  const boost::urls::url_view& url = *parsed;
  if (url.scheme_id() != boost::urls::scheme::https) return not_a_url(text, "the scheme must be https");
  if (url.has_userinfo()) return not_a_url(text, "a user name has no place in it");
  if (url.has_query() || url.has_fragment()) return not_a_url(text, "a query or fragment has no place in it");
  if (!url.encoded_path().empty() && url.encoded_path() != "/")
    return not_a_url(text, "a path has no place in it");
  ServerUrl server{host_of(url), kDefaultPort};
  if (server.host.empty()) return not_a_url(text, "the host is missing or no host name or address");
  if (url.has_port() && !url.port().empty()) {
    server.port = url.port_number();
    if (server.port == 0) return not_a_url(text, "the port must be from 1 to 65535");
  }
  return server;
}

Result<std::string> check_proxy_url(std::string_view text) {
  if (text.empty()) return std::string();
  const auto refuse = [](std::string_view why) {
    // The text may hold a password: it is not repeated.
    return Error{ErrorCode::invalid,
                 "not a proxy's URL: " + std::string(why) + "; expected http://[USER:PASSWORD@]HOST:PORT"};
  };
  if (text.size() > kUrlBytes) return refuse("it is too long");
  const auto parsed = boost::urls::parse_uri(boost::urls::string_view(text.data(), text.size()));
  if (!parsed) return refuse(parsed.error().message());
  const std::string scheme = lower(std::string_view(parsed->scheme().data(), parsed->scheme().size()));
  if (scheme != "http" && scheme != "https" && scheme != "socks5h")
    return refuse("the scheme must be http, https or socks5h");
  if (host_of(*parsed).empty()) return refuse("the host is missing or no host name or address");
  if (!parsed->has_port() || parsed->port_number() == 0)
    return refuse("the port is missing or not from 1 to 65535");
  if (parsed->has_query() || parsed->has_fragment() ||
      (!parsed->encoded_path().empty() && parsed->encoded_path() != "/")) {
    return refuse("a path, query or fragment has no place in it");
  }
  return std::string(text);
}

std::string percent_encode(std::string_view text) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      encoded += '%';
      encoded += digits[byte >> 4U];
      encoded += digits[byte & 0xFU];
    }
  }
  return encoded;
}

}  // namespace agenttask::net
