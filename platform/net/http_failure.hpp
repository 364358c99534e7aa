#pragma once
// Only for the .cpp files of platform/net: from what libcurl tells to what a person can act on.
#include <cstdint>
#include <string>

#include "platform/net/http_client.hpp"

namespace agenttask::net {

enum class TransferFault : std::uint8_t {
  no_address,
  proxy_no_address,
  proxy,
  no_connection,
  timeout,
  verification,  ///< of the server's certificate
  handshake,
  url,
  own_credentials,  ///< our certificate, key or authority can't be read
  other,
};

/// What is known of a transfer that failed.
struct TransferFacts {
  TransferFault fault = TransferFault::other;
  std::string detail;  ///< libcurl's words
  std::string url;
  std::string proxy;       ///< empty: none is set
  long verify_result = 0;  ///< X509_V_ERR_… of the server's certificate
  long proxy_status = 0;   ///< what a proxy answered; 0: none did
};

struct Explanation {
  HttpFailure kind;
  ErrorCode code;
  std::string text;  ///< why, and what to do
};

[[nodiscard]] Explanation explain(const TransferFacts& facts);

}  // namespace agenttask::net
