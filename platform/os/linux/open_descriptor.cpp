#include "platform/os/posix/open_descriptor.hpp"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>

namespace agenttask::os {

PipeEnds open_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

bool give_pipe(int descriptor, uid_t user) {
  return ::fchown(descriptor, user, static_cast<gid_t>(-1)) == 0;
}

Descriptor open_unix_socket(int type) {
  const int blocking = type == SOCK_STREAM ? SOCK_NONBLOCK : 0;
  return Descriptor(::socket(AF_UNIX, type | SOCK_CLOEXEC | blocking, 0));
}

Descriptor accept_connection(int listener) {
  return Descriptor(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

ssize_t send_bytes(int socket, std::string_view bytes) {
  return ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

Descriptor open_bytes(std::string_view bytes) {
  Descriptor memory(::memfd_create("standard-input", MFD_CLOEXEC));
  if (!memory.is_open()) return {};
  while (!bytes.empty()) {
    const auto count = ::write(memory.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  ::lseek(memory.get(), 0, SEEK_SET);
  const auto path = "/proc/self/fd/" + std::to_string(memory.get());
  Descriptor read_only(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return read_only.is_open() ? std::move(read_only) : std::move(memory);
}

}  // namespace agenttask::os
