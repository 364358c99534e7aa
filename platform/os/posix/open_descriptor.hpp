#pragma once
#include <string_view>
#include <sys/types.h>

#include "platform/os/posix/descriptor.hpp"

namespace agenttask::os {

/// Descriptors that no program we start inherits, made in as few steps as the system allows; and what systems
/// call differently when such a descriptor is used. On failure they are closed, and errno says why. Private
/// to platform/os. Threads: any.

struct PipeEnds {
  Descriptor read;
  Descriptor write;
  [[nodiscard]] bool is_open() const { return read.is_open() && write.is_open(); }
};
[[nodiscard]] PipeEnds open_pipe();
/// Lets this user open the pipe anew by a name like /dev/stderr, which otherwise only we may.
[[nodiscard]] bool give_pipe(int descriptor, uid_t user);

/// A Unix socket; `type` is SOCK_STREAM, which does not block then, or SOCK_DGRAM.
[[nodiscard]] Descriptor open_unix_socket(int type);
/// The next connection, which does not block.
[[nodiscard]] Descriptor accept_connection(int listener);
/// As send(2) without waiting, and without SIGPIPE.
[[nodiscard]] ssize_t send_bytes(int socket, std::string_view bytes);

/// Something from which these bytes are read, as often and as late as somebody likes, and which nobody can
/// change by it.
[[nodiscard]] Descriptor open_bytes(std::string_view bytes);

}  // namespace agenttask::os
