#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "platform/protocol/problem.hpp"
#include "server/api/outcome.hpp"

namespace agenttask::server {

/// Every `code` of a problem document that the API answers, with its status. Stable: clients act on them.
/// openapi.json lists them for each call, and a test holds both together.
enum class Code : std::uint8_t {
  invalid,               ///< 400: the request is not well formed; `field` names the field at fault
  limit,                 ///< 400: a field is past a limit
  unauthorized,          ///< 401: no token or certificate, or an unknown, expired or revoked token
  denied,                ///< 403: known, and not allowed
  certificate_expired,   ///< 403: it may only renew
  enrollment_refused,    ///< 403: the token is unknown, expired or used up
  unknown_route,         ///< 404
  unknown_node,          ///< 404
  unknown_task,          ///< 404
  unknown_batch,         ///< 404
  unknown_token,         ///< 404: no such enrolment token
  unknown_operator,      ///< 404
  method_not_allowed,    ///< 405: `Allow` says which are
  ambiguous_node,        ///< 409: `candidates` says which nodes have this name
  conflict,              ///< 409: the id is taken by another task, or it does not go with what holds now
  idempotency_conflict,  ///< 409: the key was used for another request
  already_ended,         ///< 409: `task` says how
  already_chosen,        ///< 409: `chosen` says who was first
  no_targets,            ///< 409: no node has what the target asks for
  node_revoked,          ///< 409: a revoked node takes no tasks
  last_admin,            ///< 409: without it nobody could administrate
  unsupported,           ///< 422: a later version does it
  unsupported_protocol,  ///< 422: the device speaks a protocol that this server does not
  too_often,             ///< 429: the device did it a moment ago; `Retry-After` says when it may again
  internal,              ///< 500: a fault of ours
  storage_failed,        ///< 503: the database could not be read or written
  unavailable,           ///< 503: busy, stopping or not ready
};

struct CodeInfo {
  Code code;
  std::string_view name;
  int status;
};
inline constexpr std::array<CodeInfo, 27> kCodes{{
    {Code::invalid, "invalid", 400},
    {Code::limit, "limit", 400},
    {Code::unauthorized, "unauthorized", 401},
    {Code::denied, "denied", 403},
    {Code::certificate_expired, "certificate-expired", 403},
    {Code::enrollment_refused, "enrollment-refused", 403},
    {Code::unknown_route, "unknown-route", 404},
    {Code::unknown_node, "unknown-node", 404},
    {Code::unknown_task, "unknown-task", 404},
    {Code::unknown_batch, "unknown-batch", 404},
    {Code::unknown_token, "unknown-token", 404},
    {Code::unknown_operator, "unknown-operator", 404},
    {Code::method_not_allowed, "method-not-allowed", 405},
    {Code::ambiguous_node, "ambiguous-node", 409},
    {Code::conflict, "conflict", 409},
    {Code::idempotency_conflict, "idempotency-conflict", 409},
    {Code::already_ended, "already-ended", 409},
    {Code::already_chosen, "already-chosen", 409},
    {Code::no_targets, "no-targets", 409},
    {Code::node_revoked, "node-revoked", 409},
    {Code::last_admin, "last-admin", 409},
    {Code::unsupported, "unsupported", 422},
    {Code::unsupported_protocol, "unsupported-protocol", 422},
    {Code::too_often, "too-often", 429},
    {Code::internal, "internal", 500},
    {Code::storage_failed, "storage-failed", 503},
    {Code::unavailable, "unavailable", 503},
}};

[[nodiscard]] const CodeInfo& info(Code code);

/// A response with a problem document. `extra`: JSON object text whose members are added.
[[nodiscard]] Response refuse(Code code, std::string detail, std::string field = {}, std::string extra = {});
/// For what parsers of requests say: invalid, limit, unsupported.
[[nodiscard]] Response refuse(const Error& error);
/// For failures of the storage: 503 with Retry-After, as nothing was done and trying again may work.
[[nodiscard]] Response refuse_storage(const Error& error);

}  // namespace agenttask::server
