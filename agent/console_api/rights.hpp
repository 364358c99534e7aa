#pragma once
#include <cstdint>
#include <string>

#include "agent/console_api/console_server.hpp"
#include "platform/os/local_socket.hpp"

namespace agenttask::agent {

/// What a peer may do; each includes the one before.
enum class Right : std::uint8_t { none, view, run };

/// By what the system says about the peer (see ConsoleSettings).
[[nodiscard]] Right right_of(const os::Peer& peer, const ConsoleSettings& settings);

/// Who may connect at all, so that those with no right don't take connections where the system can keep them
/// away.
[[nodiscard]] os::LocalAccess access_of(const ConsoleSettings& settings);

/// Why this peer may not, and who may: the `denied` error.
[[nodiscard]] Error denied(const os::Peer& peer, Right needed, const ConsoleSettings& settings);

}  // namespace agenttask::agent
