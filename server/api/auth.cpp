#include "server/api/auth.hpp"

#include <algorithm>
#include <cctype>

#include "platform/base/encoding.hpp"
#include "server/api/credentials.hpp"
#include "server/authority/authority.hpp"

namespace agenttask::server {
namespace {

/// The token of `Authorization: Bearer …`; empty where there is none.
std::string bearer_token(const Call& call) {
  const std::string text = call.header("authorization");
  constexpr std::string_view scheme = "bearer ";
  if (text.size() <= scheme.size()) return {};
  const bool fits = std::equal(scheme.begin(), scheme.end(), text.begin(), [](char expected, char given) {
    return expected == std::tolower(static_cast<unsigned char>(given));
  });
  return fits ? text.substr(scheme.size()) : std::string();
}

std::optional<Outcome> authenticate_operator(Call& call, Role least) {
  auto record = call.store.operator_by_hash(token_hash(bearer_token(call)));
  if (!record || !is_valid(*record, call.now)) {
    return refuse(Code::unauthorized, "send a valid operator's token: Authorization: Bearer agt_…");
  }
  if (record->role < least) {
    return refuse(Code::denied, "this needs the role " + std::string(to_string(least)) + "; the token has " +
                                    std::string(to_string(record->role)));
  }
  call.caller = std::move(record);
  return std::nullopt;
}

/// The routes on which a certificate of the lost time is noted: a device polls before anything else.
bool may_be_noted(const Request& request) {
  return request.path == "/v1/device/poll" || request.path == "/v1/device/renew";
}

/// Whether the server would know this certificate, had it not been put back: issued in the time that it lost,
/// and neither to a device that was replaced since, nor one that would be forgotten by now, as its device had
/// another when it ended.
bool may_be_lost(const Call& call, const PeerCertificate& peer) {
  if (!call.store.is_lost_time(peer.issued_at)) return false;
  auto node = call.store.node(peer.node_id);
  if (!node) return true;
  call.context.presence.fill(*node);
  constexpr DurationMilliseconds kRounding = 2000;  // certificates know seconds only
  return peer.issued_at + kRounding >= node->enrolled_at &&
         node->last_seen.value_or(0) <= peer.expires_at + limits::kDay;
}

/// Our authority issued this certificate, and the database does not know it. Where it was put back from a
/// backup, that is how every device looks that enrolled, or renewed its certificate, since the backup was
/// taken. One whose node is known goes on; nobody can tell whether another was revoked meanwhile, so it waits
/// in quarantine for an operator's word.
void note_lost_certificate(Call& call, const PeerCertificate& peer) {
  auto node = call.store.node(peer.node_id);
  if (!node) {
    node.emplace();
    node->id = node->name = peer.node_id;
    node->enrolled_at = peer.issued_at;
    node->quarantined_at = call.now;
    node->quarantine_reason =
        "this server was put back from a backup and does not know the device, which enrolled after that was "
        "taken";
    call.writes->insert_node(*node);
    call.admitted = true;
    call.writes->after_commit([&logger = call.context.logger, id = node->id] {
      logger.warning(
          "a device that enrolled after the backup was taken is in quarantine until an operator releases it",
          {{"node", id}});
    });
  }
  call.writes->insert_certificate({peer.fingerprint, peer.node_id, peer.issued_at, peer.expires_at, {}});
}

std::optional<Outcome> authenticate_device(Call& call, bool expired_too) {
  const auto& peer = call.request.certificate;
  if (!peer)
    return refuse(Code::unauthorized,
                  "this call is for devices: connect with the device's client certificate");
  auto certificate = call.store.certificate(peer->fingerprint);
  if (!certificate && may_be_noted(call.request) && may_be_lost(call, *peer)) {
    if (call.writes == nullptr) return NeedsWrite{};
    note_lost_certificate(call, *peer);
    certificate = call.store.certificate(peer->fingerprint);
  }
  auto node = certificate ? call.store.node(certificate->node_id) : std::nullopt;
  if (!certificate || certificate->revoked_at || certificate->node_id != peer->node_id || !node ||
      node->revoked_at) {
    return refuse(Code::denied, "this device's certificate is unknown or revoked: enrol it again");
  }
  if (call.request.certificate_expired && !expired_too &&
      peer->expires_at < call.context.authority.believed_time()) {
    return refuse(Code::certificate_expired, "this device's certificate has expired: renew it");
  }
  call.device = std::move(node);
  return std::nullopt;
}

}  // namespace

std::optional<Outcome> authenticate(Call& call, Access access) {
  switch (access) {
    case Access::open:
      return std::nullopt;
    case Access::viewer:
      return authenticate_operator(call, Role::viewer);
    case Access::operator_:
      return authenticate_operator(call, Role::operator_);
    case Access::admin:
      return authenticate_operator(call, Role::admin);
    case Access::device:
      return authenticate_device(call, false);
    case Access::expired_device:
      return authenticate_device(call, true);
  }
  return refuse(Code::denied, "not allowed");
}

}  // namespace agenttask::server
