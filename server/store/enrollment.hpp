#pragma once
#include "server/store/store.hpp"

namespace agenttask::server {

/// A new device takes the place of a node: its old certificates end, a quarantine too. What the old device
/// was offered and did not end is `failed`, `interrupted`, as nobody can say whether it ran; what was never
/// offered goes to the new one. Should it be the same device with its ledger after all, its snapshot corrects
/// that. Stores the node.
void replace_node(WriteStore& store, NodeRecord& node, UnixMilliseconds now);

/// The node's certificates end, and what its device was offered and did not end is `failed`, `interrupted`;
/// what was never offered is cancelled, as nobody will fetch it. Wakes whoever waits for these tasks, and the
/// node's own poll. Should the node be replaced later, the device's truth stands. Stores the node.
void retire_node(WriteStore& store, NodeRecord& node, UnixMilliseconds now);

}  // namespace agenttask::server
