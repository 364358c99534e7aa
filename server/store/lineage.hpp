#pragma once
#include <string>

#include "platform/base/log.hpp"
#include "platform/protocol/message.hpp"
#include "server/store/store.hpp"

/// Which start of an agent follows which. Each start writes a new random incarnation into its ledger, linked
/// to the one before; a copied disk, a ledger from a backup and a lost ledger show as one that follows
/// nothing that the server heard last. Failures of the storage are the caller's to check (store.hpp).
namespace agenttask::server {

/// How a poll's incarnation stands to the last that the server acknowledged.
enum class Lineage : std::uint8_t {
  same,     ///< it is the last, or the first after an enrolment
  follows,  ///< a restart: its predecessors lead to the last
  past,     ///< one that was replaced, a moment ago: a message that was under way for long
  copied,   ///< a second line: it follows one that was replaced, or was replaced itself and goes on
  unknown,  ///< the server knows neither it nor what it follows
};
[[nodiscard]] Lineage lineage(const ReadStore& store, const NodeRecord& node, const PollRequest& request,
                              UnixMilliseconds now);

/// Whether a message that came now can be an old one that was under way since `replaced_at`.
[[nodiscard]] bool may_be_late(UnixMilliseconds replaced_at, UnixMilliseconds now);

/// `request.incarnation` becomes the last; those between it and the last before are kept as past ones.
void follow(WriteStore& store, NodeRecord& node, const PollRequest& request, UnixMilliseconds now);

/// From now on nothing is offered to the node and nothing that it reports is applied. Stores the node.
void quarantine(WriteStore& store, NodeRecord& node, std::string reason, UnixMilliseconds now,
                Logger& logger);

/// Ends a quarantine: the next agent that comes is taken, whatever it follows; what was offered to another
/// ledger and is not in its snapshot ends as interrupted. Stores the node. False: there was none.
bool release(WriteStore& store, NodeRecord& node);

}  // namespace agenttask::server
