#include "platform/net/http_failure.hpp"

#include "platform/base/error_text.hpp"

namespace agenttask::net {
namespace {

/// Certificates: which of the reasons it was.
Explanation explain_verification(const TransferFacts& facts) {
  constexpr long not_yet_valid = 9;  // X509_V_ERR_…, which libcurl passes on as numbers
  constexpr long expired = 10;
  constexpr long other_name = 62;
  const long result = facts.verify_result;
  const std::string& detail = facts.detail;
  if (result == not_yet_valid || result == expired) {
    return {HttpFailure::tls_expired, ErrorCode::denied,
            std::string("its certificate ") + (result == expired ? "has expired" : "is not valid yet") +
                "; check the clocks of both machines, then renew it"};
  }
  if (result == other_name || detail.find("subject name") != std::string::npos) {
    return {HttpFailure::tls_name, ErrorCode::denied,
            "its certificate is for another host name; use a name that it holds, or add this one to the "
            "server's names"};
  }
  return {HttpFailure::tls_untrusted, ErrorCode::denied,
          "its certificate is not from the authority we trust (" + detail +
              "); is it the right server, or does a device in between open TLS?"};
}

bool mentions_alert_about_certificate(const std::string& detail) {
  return detail.find("alert") != std::string::npos &&
         (detail.find("certificate") != std::string::npos || detail.find("unknown ca") != std::string::npos ||
          detail.find("access denied") != std::string::npos);
}

Explanation explain_tls(const std::string& detail) {
  if (mentions_alert_about_certificate(detail)) {
    return {HttpFailure::tls_client_refused, ErrorCode::denied,
            "it does not accept our certificate (" + detail + ")"};
  }
  if (detail.find("wrong version number") != std::string::npos) {
    return {HttpFailure::tls, ErrorCode::denied, "what listens there does not speak TLS; check the port"};
  }
  if (detail.find("protocol version") != std::string::npos ||
      detail.find("unsupported protocol") != std::string::npos) {
    return {HttpFailure::tls, ErrorCode::denied,
            "no TLS version in common (" + detail + "); see the setting tls-minimum"};
  }
  return {HttpFailure::tls, ErrorCode::denied, "the TLS handshake failed (" + detail + ")"};
}

Explanation explain_broken(const TransferFacts& facts) {
  const long proxy_status = facts.proxy_status;
  if (proxy_status == 407) {
    return {HttpFailure::proxy, ErrorCode::denied,
            "the proxy wants a user name and password; put them into its URL"};
  }
  if (proxy_status != 0 && (proxy_status < 200 || proxy_status > 299)) {
    return {HttpFailure::proxy, ErrorCode::unavailable,
            "the proxy refuses to connect us there (status " + std::to_string(proxy_status) +
                "); ask who runs it, or set no-proxy"};
  }
  if (mentions_alert_about_certificate(facts.detail)) return explain_tls(facts.detail);
  return {HttpFailure::broken, ErrorCode::unavailable,
          "the connection ended in the middle (" + facts.detail + ")"};
}

Explanation explain_connection(const TransferFacts& facts) {
  // A kept connection that broke leaves its own words behind when the new one is refused.
  const std::string detail =
      facts.detail.find("onnect") == std::string::npos ? "Couldn't connect" : facts.detail;
  // libcurl names the host that it could not connect to: with a proxy in use that is not the server's.
  const std::string& url = facts.url;
  const auto begin = url.find("://") + 3;
  const std::string host = url.substr(begin, url.find_first_of(":/", begin) - begin);
  if (!facts.proxy.empty() && detail.find(" " + host + " ") == std::string::npos) {
    return {HttpFailure::proxy, ErrorCode::unavailable,
            "the proxy can't be reached (" + detail + "); check the setting proxy"};
  }
  return {HttpFailure::cannot_connect, ErrorCode::unavailable,
          detail + "; is agenttask-server running there, and does a firewall let us through?"};
}

}  // namespace

Explanation explain(const TransferFacts& facts) {
  const std::string why = " (" + facts.detail + ")";
  switch (facts.fault) {
    case TransferFault::no_address:
      return {HttpFailure::cannot_resolve, ErrorCode::unavailable,
              "its name has no address" + why + "; check the name and DNS"};
    case TransferFault::proxy_no_address:
      return {HttpFailure::proxy, ErrorCode::unavailable, "the proxy's name has no address" + why};
    case TransferFault::proxy:
      return {HttpFailure::proxy, ErrorCode::unavailable, "the proxy failed" + why};
    case TransferFault::no_connection:
      return explain_connection(facts);
    case TransferFault::timeout:
      return {HttpFailure::timeout, ErrorCode::timeout, "it took too long" + why};
    case TransferFault::verification:
      return explain_verification(facts);
    case TransferFault::handshake:
      return explain_tls(facts.detail);
    case TransferFault::url:
      return {HttpFailure::bad_request, ErrorCode::invalid, "not a URL that we can use" + why};
    case TransferFault::own_credentials:
      return {HttpFailure::bad_request, ErrorCode::invalid,
              "our own certificate, key or authority can't be used" + why};
    case TransferFault::other:
      break;
  }
  return explain_broken(facts);
}

std::string_view to_string(HttpFailure failure) {
  switch (failure) {
    case HttpFailure::bad_request:
      return "bad-request";
    case HttpFailure::cannot_resolve:
      return "cannot-resolve";
    case HttpFailure::cannot_connect:
      return "cannot-connect";
    case HttpFailure::timeout:
      return "timeout";
    case HttpFailure::proxy:
      return "proxy";
    case HttpFailure::tls:
      return "tls";
    case HttpFailure::tls_untrusted:
      return "tls-untrusted";
    case HttpFailure::tls_expired:
      return "tls-expired";
    case HttpFailure::tls_name:
      return "tls-name";
    case HttpFailure::tls_client_refused:
      return "tls-client-refused";
    case HttpFailure::too_large:
      return "too-large";
    case HttpFailure::broken:
      return "broken";
    case HttpFailure::stopped:
      return "stopped";
  }
  return "broken";
}

std::string_view to_string(TlsVersion version) {
  return version == TlsVersion::tls_1_2 ? "1.2" : "1.3";
}

Result<TlsVersion> parse_tls_version(std::string_view text) {
  if (text == "1.3") return TlsVersion::tls_1_3;
  if (text == "1.2") return TlsVersion::tls_1_2;
  return Error{ErrorCode::invalid, "no TLS version \"" + excerpt(text, 32) + "\": one of 1.2, 1.3"};
}

void throw_exception_from_error(const HttpError& error, const boost::source_location& where) {
  throw_exception_from_error(error.error, where);
}

}  // namespace agenttask::net
