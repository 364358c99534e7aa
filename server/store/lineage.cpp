#include "server/store/lineage.hpp"

#include <algorithm>
#include <utility>

#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

/// No message is under way longer: connections of a dead agent break before.
constexpr DurationMilliseconds kLate = 5 * 60 * 1000;
/// Of the predecessors in a poll, the newest that are looked at, and the oldest.
constexpr std::size_t kPredecessors = 100;

std::vector<std::string> looked_at(const std::vector<std::string>& predecessors) {
  std::vector<std::string> some(
      predecessors.begin(),
      predecessors.begin() + static_cast<std::ptrdiff_t>(std::min(kPredecessors, predecessors.size())));
  if (predecessors.size() > kPredecessors) some.push_back(predecessors.back());
  return some;
}

}  // namespace

bool may_be_late(UnixMilliseconds replaced_at, UnixMilliseconds now) {
  // A time that is far in the future was noted by a clock that was ahead: it says nothing of a moment ago.
  return now - replaced_at <= kLate && replaced_at - now <= kLate;
}

Lineage lineage(const ReadStore& store, const NodeRecord& node, const PollRequest& request,
                UnixMilliseconds now) {
  if (node.incarnation.empty() || request.incarnation == node.incarnation) return Lineage::same;
  if (std::find(request.predecessors.begin(), request.predecessors.end(), node.incarnation) !=
      request.predecessors.end()) {
    return Lineage::follows;
  }
  if (const auto replaced = store.incarnation_replaced_at(node.id, request.incarnation)) {
    return may_be_late(*replaced, now) ? Lineage::past : Lineage::copied;
  }
  for (const auto& predecessor : looked_at(request.predecessors)) {
    if (store.incarnation_replaced_at(node.id, predecessor)) return Lineage::copied;
  }
  return Lineage::unknown;
}

void follow(WriteStore& store, NodeRecord& node, const PollRequest& request, UnixMilliseconds now) {
  if (node.incarnation == request.incarnation) return;
  store.commits(commit_point::kIncarnationFollowed);
  // Those that never reached the server may still do so, late.
  for (const auto& predecessor : looked_at(request.predecessors))
    store.insert_past_incarnation(node.id, predecessor, now);
  if (!node.incarnation.empty()) store.insert_past_incarnation(node.id, node.incarnation, now);
  node.incarnation = request.incarnation;
}

void quarantine(WriteStore& store, NodeRecord& node, std::string reason, UnixMilliseconds now,
                Logger& logger) {
  store.after_commit([&logger, id = node.id, reason] {
    logger.warning("a device is in quarantine until an operator releases it or it enrols again",
                   {{"node", id}, {"why", reason}});
  });
  store.commits(commit_point::kDeviceQuarantined);
  node.quarantined_at = now;
  node.quarantine_reason = std::move(reason);
  node.released = false;
  store.update_node(node);
  store.touch("node:" + node.id);
}

bool release(WriteStore& store, NodeRecord& node) {
  if (!node.quarantined_at) return false;
  node.quarantined_at.reset();
  node.quarantine_reason.clear();
  node.released = true;
  store.update_node(node);
  store.touch("node:" + node.id);
  return true;
}

}  // namespace agenttask::server
