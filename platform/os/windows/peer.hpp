#pragma once
#include <windows.h>

#include "platform/os/local_socket.hpp"

namespace agenttask::os {

/// Who opened the other end of this end of a pipe that we made, by the token that the system kept of it when
/// it was opened. An error when the client lets nobody know who it is. Private to platform/os/windows.
[[nodiscard]] Result<Peer> read_client(HANDLE pipe);

/// Who made the pipe that we opened. `denied` when that is neither the system nor an administrator nor our
/// own user: whoever makes a pipe of this name before the agent does could be told secrets.
[[nodiscard]] Result<Peer> read_server(HANDLE pipe, const std::string& address);

}  // namespace agenttask::os
