#include "platform/os/windows/peer.hpp"

#include <cstdlib>

#include "platform/os/windows/access_rights.hpp"
#include "platform/os/windows/accounts.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"

namespace agenttask::os {
namespace {

constexpr std::string_view kWhat = "cannot tell who is at the other end of the local pipe";

/// The token of the client, for looks. While it is taken this thread is the client.
Result<Handle> token_of_client(HANDLE pipe) {
  if (::ImpersonateNamedPipeClient(pipe) == 0) return system_error(kWhat, ::GetLastError());
  HANDLE token = nullptr;
  const bool opened = ::OpenThreadToken(::GetCurrentThread(), TOKEN_QUERY, TRUE, &token) != 0;
  const DWORD code = ::GetLastError();
  // A thread that went on as somebody else would do our work with his rights.
  if (::RevertToSelf() == 0) std::abort();
  if (!opened) return system_error(kWhat, code);
  return Handle(token);
}

bool is_anonymous(HANDLE token) {
  SECURITY_IMPERSONATION_LEVEL level = SecurityAnonymous;
  DWORD size = 0;
  return ::GetTokenInformation(token, TokenImpersonationLevel, &level, sizeof level, &size) == 0 ||
         level < SecurityIdentification;
}

/// What an account's identity alone says.
Peer peer_of(const Sid& user) {
  Peer peer;
  peer.user_id = user.text();
  peer.user_name = account_name(user);
  if (peer.user_name == peer.user_id) peer.user_name.clear();
  peer.is_administrator = user == system_sid();
  peer.is_same_user = user == user_of_this_process();
  peer.is_person = is_person(user);
  return peer;
}

}  // namespace

Result<Peer> read_client(HANDLE pipe) {
  const auto token = token_of_client(pipe);
  if (!token) return token.error();
  const Sid user = user_of(token->get());
  if (!user.is_valid() || is_anonymous(token->get()))
    return Error{ErrorCode::denied, std::string(kWhat) + ": it does not say"};
  Peer peer = peer_of(user);
  const Sid administrators = administrators_sid();
  for (const Sid& group : groups_of(token->get())) {
    // With a token that is not elevated, Administrators is not among the groups that count.
    if (group == administrators) peer.is_administrator = true;
    peer.groups.push_back(account_name(group));
  }
  ULONG pid = 0;
  if (::GetNamedPipeClientProcessId(pipe, &pid) != 0) peer.pid = pid;
  return peer;
}

Result<Peer> read_server(HANDLE pipe, const std::string& address) {
  const Sid owner = owner_of(pipe, false);
  if (!is_trusted_owner(owner)) {
    return Error{ErrorCode::denied, "the pipe " + address + " was made by " + account_name(owner) +
                                        ", who is neither the system nor you: nothing was said to it"};
  }
  Peer peer = peer_of(owner);
  if (owner == administrators_sid()) peer.is_administrator = true;
  ULONG pid = 0;
  if (::GetNamedPipeServerProcessId(pipe, &pid) != 0) peer.pid = pid;
  return peer;
}

}  // namespace agenttask::os
