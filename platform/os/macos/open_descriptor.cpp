#include "platform/os/posix/open_descriptor.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <sys/socket.h>

#include <climits>

namespace agenttask::os {
namespace {

// In two steps, as the system has no call for one: a child that another thread starts in between closes what
// is not its own before it becomes its program.
Descriptor kept_from_children(int number, bool blocking) {
  Descriptor descriptor(number);
  if (!descriptor.is_open()) return {};
  const int flags = ::fcntl(descriptor.get(), F_GETFL);
  const bool set = ::fcntl(descriptor.get(), F_SETFD, FD_CLOEXEC) == 0 &&
                   (blocking || (flags >= 0 && ::fcntl(descriptor.get(), F_SETFL, flags | O_NONBLOCK) == 0));
  return set ? std::move(descriptor) : Descriptor();
}

// Fails for a socket whose other end has gone already, which the next call on it will tell.
void silence(const Descriptor& socket) {
  const int on = 1;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
}

// A folder of this user alone, where the system has one.
std::string temporary_folder() {
  std::array<char, PATH_MAX> folder{};
  const auto bytes = ::confstr(_CS_DARWIN_USER_TEMP_DIR, folder.data(), folder.size());
  return bytes > 1 && bytes <= folder.size() ? std::string(folder.data()) : std::string("/tmp/");
}

bool write_whole(const Descriptor& file, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto count = ::write(file.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

PipeEnds open_pipe() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return {};
  return {kept_from_children(ends[0], true), kept_from_children(ends[1], true)};
}

// A name like /dev/stderr gives the descriptor itself there, whoever opens it.
bool give_pipe(int, uid_t) {
  return true;
}

Descriptor open_unix_socket(int type) {
  auto socket = kept_from_children(::socket(AF_UNIX, type, 0), type != SOCK_STREAM);
  if (socket.is_open()) silence(socket);
  return socket;
}

Descriptor accept_connection(int listener) {
  auto socket = kept_from_children(::accept(listener, nullptr, nullptr), false);
  if (socket.is_open()) silence(socket);
  return socket;
}

ssize_t send_bytes(int socket, std::string_view bytes) {
  return ::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
}

// A file that has lost its name before anything is in it.
Descriptor open_bytes(std::string_view bytes) {
  auto name = temporary_folder() + "agenttask-input.XXXXXX";
  const Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (!file.is_open()) return {};
  Descriptor read_only(::open(name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  ::unlink(name.c_str());
  if (!read_only.is_open() || !write_whole(file, bytes)) return {};
  return read_only;
}

}  // namespace agenttask::os
