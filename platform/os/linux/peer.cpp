#include "platform/os/posix/peer.hpp"

#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "platform/os/posix/users.hpp"
#include "platform/os/secure_file.hpp"

namespace agenttask::os {
namespace {

// The groups that the peer's process had when it connected: what the kernel knows, not what the databases say
// today.
std::vector<gid_t> peer_groups(int socket) {
  std::vector<gid_t> groups(32);
  for (;;) {
    auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
      groups.resize(bytes / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE) return {};
    groups.resize(bytes / sizeof(gid_t));
  }
}

}  // namespace

Result<Peer> read_peer(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return io_error("cannot tell who is at the other end of the local socket", errno);
  }
  Peer peer;
  peer.user_id = std::to_string(credentials.uid);
  peer.pid = credentials.pid;
  peer.is_administrator = credentials.uid == 0;
  const auto rules = read_file("/etc/login.defs", 1024 * 1024);
  peer.is_person = is_person(credentials.uid, least_person_id(rules ? std::string_view(*rules) : ""));
  peer.is_same_user = credentials.uid == ::geteuid();
  if (const auto user = find_user(credentials.uid)) peer.user_name = user->name;
  peer.groups.push_back(group_name(credentials.gid));
  for (const auto group : peer_groups(socket)) {
    if (group != credentials.gid) peer.groups.push_back(group_name(group));
  }
  return peer;
}

}  // namespace agenttask::os
