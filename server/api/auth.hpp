#pragma once
#include <optional>
#include <string>

#include "server/api/call.hpp"
#include "server/api/router.hpp"

namespace agenttask::server {

/// Finds out who asks and whether they may; fills `call.caller` or `call.device`. The response that refuses,
/// otherwise. It is asked on every evaluation, so what was revoked ends parked requests too. Always the same
/// work for an operator's token: one hash, one look-up.
[[nodiscard]] std::optional<Response> authenticate(Call& call, Access access);

}  // namespace agenttask::server
