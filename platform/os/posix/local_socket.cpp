#include "platform/os/local_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>

#include "platform/os/line_buffer.hpp"
#include "platform/os/posix/open_descriptor.hpp"
#include "platform/os/posix/peer.hpp"
#include "platform/os/posix/users.hpp"
#include "platform/os/posix/wait.hpp"

namespace agenttask::os {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;  // Linux: 107 bytes and a NUL
constexpr int kBacklog = 64;
constexpr milliseconds kConnectAgain{10};

Result<sockaddr_un> to_socket_address(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Error{ErrorCode::invalid, "the local socket's path is empty or contains a NUL byte"};
  }
  if (path.size() > kLongestPath) {
    return Error{ErrorCode::invalid, "the local socket's path " + path + " has " +
                                         std::to_string(path.size()) + " bytes, and the system allows " +
                                         std::to_string(kLongestPath) +
                                         "; choose a folder with a shorter path"};
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Descriptor> open_socket() {
  auto socket = open_unix_socket(SOCK_STREAM);
  if (socket.is_open()) return socket;
  auto error = io_error("cannot open a local socket", errno);
  error.code = ErrorCode::unavailable;
  return error;
}

int connect_once(int socket, const sockaddr_un& address) {
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

Error connect_error(const std::string& path, int error_number) {
  switch (error_number) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
      return {ErrorCode::unavailable,
              "nobody listens at " + path + ": the agent is not running, or runs elsewhere"};
    case EACCES:
    case EPERM:
      return {ErrorCode::denied,
              "no permission to connect to " + path + "; ask root, or join the group that may"};
    case EPROTOTYPE:
    case ENOTSOCK:
      return {ErrorCode::unavailable, path + " is not a socket of the agent"};
    default:
      return io_error("cannot connect to " + path, error_number);
  }
}

Error connection_error(std::string_view what, int error_number) {
  auto error = io_error(what, error_number);
  if (error_number == EPIPE || error_number == ECONNRESET) {
    error = {ErrorCode::unavailable, std::string(what) + ": the other side has closed the connection"};
  }
  return error;
}

Error wait_error(Wait wait, std::string_view what) {
  if (wait == Wait::stopped) return {ErrorCode::unavailable, std::string(what) + ": stopped"};
  return {ErrorCode::timeout, std::string(what) + ": the other side took too long"};
}

}  // namespace

struct LocalStream::State {
  Descriptor socket;
  Peer peer;
  LineBuffer lines = {};
};

LocalStream::LocalStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalStream::LocalStream(LocalStream&&) noexcept = default;
LocalStream& LocalStream::operator=(LocalStream&&) noexcept = default;
LocalStream::~LocalStream() = default;

Result<LocalStream> LocalStream::connect(const std::string& address, milliseconds timeout) {
  const auto target = to_socket_address(address);
  if (!target) return target.error();
  auto socket = open_socket();
  if (!socket) return socket.error();
  const auto deadline = deadline_after(timeout);
  for (;;) {
    const int failed = connect_once(socket->get(), *target);
    if (failed == 0) break;
    // A full queue of a Unix socket can't be waited for: the system only says "again".
    if (failed != EAGAIN && failed != EINTR) return connect_error(address, failed);
    if (deadline && std::chrono::steady_clock::now() >= *deadline) {
      return Error{ErrorCode::timeout,
                   "cannot connect to " + address + ": the agent does not accept connections"};
    }
    std::this_thread::sleep_for(kConnectAgain);
  }
  auto peer = read_peer(socket->get());
  if (!peer) return peer.error();
  return LocalStream(std::make_unique<State>(State{std::move(*socket), std::move(*peer)}));
}

Result<std::size_t> LocalStream::read_some(std::span<char> into, milliseconds timeout,
                                           const std::stop_token& stop) {
  constexpr std::string_view kWhat = "cannot read from the local socket";
  const StopSignal stop_signal(stop);
  const auto deadline = deadline_after(timeout);
  for (;;) {
    if (stop_signal.requested()) return wait_error(Wait::stopped, kWhat);
    const auto count = ::recv(state_->socket.get(), into.data(), into.size(), 0);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return connection_error(kWhat, errno);
    const auto wait = wait_ready(state_->socket.get(), POLLIN, deadline, stop_signal);
    if (wait != Wait::ready) return wait_error(wait, kWhat);
  }
}

Result<std::optional<std::string>> LocalStream::read_line(std::size_t most, milliseconds timeout,
                                                          const std::stop_token& stop) {
  return state_->lines.next(
      most, timeout, [&](std::span<char> into, milliseconds left) { return read_some(into, left, stop); });
}

Result<void> LocalStream::write_all(std::string_view bytes, milliseconds timeout,
                                    const std::stop_token& stop) {
  constexpr std::string_view kWhat = "cannot write to the local socket";
  const StopSignal stop_signal(stop);
  const auto deadline = deadline_after(timeout);
  while (!bytes.empty()) {
    if (stop_signal.requested()) return wait_error(Wait::stopped, kWhat);
    const auto count = send_bytes(state_->socket.get(), bytes);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return connection_error(kWhat, errno);
    const auto wait = wait_ready(state_->socket.get(), POLLOUT, deadline, stop_signal);
    if (wait != Wait::ready) return wait_error(wait, kWhat);
  }
  return {};
}

void LocalStream::finish_writing() {
  ::shutdown(state_->socket.get(), SHUT_WR);
}

bool LocalStream::peer_gone() const {
  // A peer that has finished writing may still be reading: what counts is whether it would take something.
  pollfd watched{state_->socket.get(), POLLOUT, 0};
  return ::poll(&watched, 1, 0) > 0 && (watched.revents & (POLLHUP | POLLERR)) != 0;
}

const Peer& LocalStream::peer() const {
  return state_->peer;
}

struct LocalListener::State {
  Descriptor socket;
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;

  // Removes the socket file, unless somebody has put another one there.
  ~State() {
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) == 0 && facts.st_dev == device && facts.st_ino == inode)
      ::unlink(path.c_str());
  }
};

namespace {

// Makes way for a new socket file: removes one that nobody listens on.
Result<void> clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT) return {};
    return io_error("cannot look at " + path, errno);
  }
  if (!S_ISSOCK(facts.st_mode)) {
    return Error{ErrorCode::conflict,
                 "cannot listen at " + path + ": there is something that is not a socket; remove it"};
  }
  const auto probe = open_socket();
  if (!probe) return probe.error();
  const int failed = connect_once(probe->get(), address);
  if (failed != ECONNREFUSED && failed != ENOENT) {
    return Error{ErrorCode::conflict, "cannot listen at " + path + ": another program listens there already"};
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return io_error("cannot remove the stale socket " + path, errno);
  }
  return {};
}

// Rights are set between bind and listen, while nobody can connect yet.
Result<void> set_access(const std::string& path, const LocalAccess& access) {
  mode_t mode = 0600;
  if (!access.group.empty()) {
    const auto group = find_group(access.group);
    if (!group) return with_context(group.error(), "cannot open " + path + " to a group");
    if (::lchown(path.c_str(), static_cast<uid_t>(-1), *group) != 0) {
      return io_error("cannot give " + path + " to the group " + access.group, errno);
    }
    mode = 0660;
  }
  if (access.everyone) mode = 0666;
  if (::chmod(path.c_str(), mode) != 0) return io_error("cannot set the rights of " + path, errno);
  return {};
}

}  // namespace

LocalListener::LocalListener(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalListener::LocalListener(LocalListener&&) noexcept = default;
LocalListener& LocalListener::operator=(LocalListener&&) noexcept = default;
LocalListener::~LocalListener() = default;

Result<LocalListener> LocalListener::listen(const std::string& address, const LocalAccess& access) {
  const auto target = to_socket_address(address);
  if (!target) return target.error();
  if (auto cleared = clear_path(address, *target); !cleared) return cleared.error();
  auto socket = open_socket();
  if (!socket) return socket.error();
  if (::bind(socket->get(), reinterpret_cast<const sockaddr*>(&*target), sizeof *target) != 0) {
    return io_error("cannot listen at " + address, errno);
  }
  auto state = std::make_unique<State>();
  state->socket = std::move(*socket);
  state->path = address;
  struct stat facts {};
  if (::lstat(address.c_str(), &facts) != 0) return io_error("cannot look at " + address, errno);
  state->device = facts.st_dev;
  state->inode = facts.st_ino;
  if (auto set = set_access(address, access); !set) return set.error();
  if (::listen(state->socket.get(), kBacklog) != 0) return io_error("cannot listen at " + address, errno);
  return LocalListener(std::move(state));
}

Result<std::optional<LocalStream>> LocalListener::accept(const std::stop_token& stop) {
  const StopSignal stop_signal(stop);
  for (;;) {
    if (stop_signal.requested()) return std::optional<LocalStream>();
    auto socket = accept_connection(state_->socket.get());
    if (socket.is_open()) {
      auto peer = read_peer(socket.get());
      if (!peer) continue;  // it has gone already
      auto stream =
          std::make_unique<LocalStream::State>(LocalStream::State{std::move(socket), std::move(*peer)});
      return std::optional<LocalStream>(LocalStream(std::move(stream)));
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      auto error = io_error("cannot accept a connection at " + state_->path, errno);
      error.code = ErrorCode::unavailable;
      return error;
    }
    if (errno != EAGAIN) return io_error("cannot accept a connection at " + state_->path, errno);
    wait_ready(state_->socket.get(), POLLIN, std::nullopt, stop_signal);
  }
}

}  // namespace agenttask::os
