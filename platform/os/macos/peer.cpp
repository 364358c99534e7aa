#include "platform/os/posix/peer.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/ucred.h>
#include <sys/un.h>
#include <unistd.h>

#include "platform/os/posix/users.hpp"

namespace agenttask::os {
namespace {
constexpr uid_t kLeastPerson = 500;  // smaller ids are the system's own; setup gives people 501 and above
}

// What the kernel noted down when the connection was made: at most 16 groups, as it knows no more of a
// process.
Result<Peer> read_peer(int socket) {
  xucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_LOCAL, LOCAL_PEERCRED, &credentials, &size) != 0 ||
      credentials.cr_version != XUCRED_VERSION) {
    return io_error("cannot tell who is at the other end of the local socket", errno);
  }
  Peer peer;
  const uid_t id = credentials.cr_uid;
  peer.user_id = std::to_string(id);
  peer.is_administrator = id == 0;
  peer.is_person = is_person(id, kLeastPerson);
  peer.is_same_user = id == ::geteuid();
  if (const auto user = find_user(id)) peer.user_name = user->name;
  const int groups = std::clamp<int>(credentials.cr_ngroups, 0, NGROUPS);
  for (int at = 0; at < groups; ++at) peer.groups.push_back(group_name(credentials.cr_groups[at]));
  pid_t pid = 0;
  socklen_t pid_size = sizeof pid;
  if (::getsockopt(socket, SOL_LOCAL, LOCAL_PEERPID, &pid, &pid_size) == 0) peer.pid = pid;
  return peer;
}

}  // namespace agenttask::os
