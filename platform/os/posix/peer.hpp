#pragma once
#include "platform/os/local_socket.hpp"

namespace agenttask::os {

/// Who is at the other end of a connected Unix socket, by the kernel's word. Private to platform/os.
[[nodiscard]] Result<Peer> read_peer(int socket);

}  // namespace agenttask::os
