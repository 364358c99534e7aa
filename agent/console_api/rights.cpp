#include "agent/console_api/rights.hpp"

#include <algorithm>

namespace agenttask::agent {
namespace {

bool is_member(const os::Peer& peer, const std::string& group) {
  return !group.empty() && std::find(peer.groups.begin(), peer.groups.end(), group) != peer.groups.end();
}

}  // namespace

Right right_of(const os::Peer& peer, const ConsoleSettings& settings) {
  if (peer.is_administrator || peer.is_same_user || is_member(peer, settings.run_group)) return Right::run;
  if (is_member(peer, settings.view_group)) return Right::view;
  return peer.is_person ? Right::choose : Right::none;
}

std::string chooser_of(const os::Peer& peer) {
  return "user:" + (peer.user_name.empty() ? peer.user_id : peer.user_name);
}

Error denied(const os::Peer& peer, Right needed, const ConsoleSettings& settings) {
  const std::string who = peer.user_name.empty() ? "user " + peer.user_id : "user " + peer.user_name;
  std::string message = who + " may not " +
                        (needed == Right::view     ? "look at tasks"
                         : needed == Right::choose ? "choose"
                                                   : "do this") +
                        " on this device; that takes root or the user that the agent runs as";
  if (!settings.run_group.empty()) message += ", or membership in the group " + settings.run_group;
  if (needed == Right::view && !settings.view_group.empty() && settings.view_group != settings.run_group) {
    message += settings.run_group.empty() ? ", or membership in the group " : " or ";
    message += settings.view_group;
  }
  if (needed == Right::choose) message += ", or a person's account rather than a service's";
  if (right_of(peer, settings) == Right::choose) {
    message += "; tasks that wait for your choice: agenttask list";
  }
  return {ErrorCode::denied, message};
}

}  // namespace agenttask::agent
