#include <nlohmann/json.hpp>

#include "server/api/handlers.hpp"

namespace agenttask::server {

Outcome get_health(Call&) {
  return json_response(200, {{"status", "ok"}});
}

/// Ready means: the database can be read (this evaluation did) and was written to when last tried.
Outcome get_readiness(Call& call) {
  (void)call.store.next_expiry();
  const std::string why = call.context.why_not_ready();
  if (!why.empty()) return refuse(Code::unavailable, why);
  return json_response(200, {{"status", "ready"}});
}

Outcome get_openapi(Call&) {
  return Response{200, "application/json", std::string(Router::openapi()), {}};
}

}  // namespace agenttask::server
