#pragma once
#include <optional>
#include <string>

#include "server/api/call.hpp"
#include "server/api/router.hpp"

namespace agenttask::server {

/// Finds out who asks and whether they may; fills `call.caller` or `call.device`. The response that refuses,
/// otherwise; or NeedsWrite, where a server that was put back from a backup has to note a certificate of the
/// time that it lost: of a device that it knows, or of one that it does not, which begins in quarantine. It
/// is asked on every evaluation, so what was revoked ends parked requests too. Always the same work for an
/// operator's token: one hash, one look-up.
[[nodiscard]] std::optional<Outcome> authenticate(Call& call, Access access);

}  // namespace agenttask::server
