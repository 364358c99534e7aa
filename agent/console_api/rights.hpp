#pragma once
#include <cstdint>
#include <string>

#include "agent/console_api/console_server.hpp"
#include "platform/os/local_socket.hpp"

namespace agenttask::agent {

/// What a peer may do; each includes the one before.
enum class Right : std::uint8_t {
  none,
  choose,  ///< see and answer the questions that are for whoever is logged in
  view,
  run
};

/// By what the system says about the peer (see ConsoleSettings).
[[nodiscard]] Right right_of(const os::Peer& peer, const ConsoleSettings& settings);

/// Who a peer is, as `by` of what it chose: `user:ann`, or `user:1000` where the id has no name.
[[nodiscard]] std::string chooser_of(const os::Peer& peer);

/// Why this peer may not, and who may: the `denied` error.
[[nodiscard]] Error denied(const os::Peer& peer, Right needed, const ConsoleSettings& settings);

}  // namespace agenttask::agent
