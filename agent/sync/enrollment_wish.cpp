#include "agent/sync/enrollment_wish.hpp"

#include "platform/net/certificate.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/net/url.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::agent {

Result<std::optional<PendingEnrollment>> keep_enrollment_wish(const IdentityFolder& folder,
                                                              std::string_view url, std::string_view token,
                                                              std::string_view name) {
  const auto server = net::parse_server_url(url);
  if (!server) return Error{ErrorCode::invalid, server.error().message, "url"};
  const auto parsed = net::parse_enrollment_token(token);
  if (!parsed) return Error{ErrorCode::invalid, parsed.error().message, "token"};
  if (name.size() > limits::kNodeNameBytes) {
    return Error{ErrorCode::limit,
                 "a node's name has at most " + std::to_string(limits::kNodeNameBytes) + " bytes", "name"};
  }
  PendingEnrollment wish{server->to_string(), std::string(token), std::string(name), {}};
  const auto present = folder.identity();
  if (present && *present && (*present)->server_url == wish.server_url &&
      (*present)->token_digest == net::secret_digest(*parsed)) {
    return std::optional<PendingEnrollment>();  // done long ago
  }
  const auto before = folder.pending();
  if (before && *before && (*before)->server_url == wish.server_url && (*before)->token == wish.token) {
    wish.key_pem = (*before)->key_pem;  // the same request again, so that it gets the same answer
  } else {
    wish.key_pem = net::PrivateKey::generate().to_pem();
  }
  if (auto kept = folder.keep(wish); !kept) return kept.error();
  return std::optional(std::move(wish));
}

}  // namespace agenttask::agent
