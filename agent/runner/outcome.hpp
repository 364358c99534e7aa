#pragma once
#include <string>
#include <vector>

#include "agent/ledger/ledger_types.hpp"
#include "agent/workers/task_worker.hpp"

namespace agenttask::agent {

/// What the ledger keeps of what a worker did. `cause`: why it was asked to stop, which is the reason of a
/// failure that gives none. `wishes` count where it succeeded.
[[nodiscard]] RunOutcome to_outcome(WorkResult result, StopCause cause, std::vector<Wish> wishes);

/// A run that failed for want of something of ours or of its worker's.
[[nodiscard]] WorkResult worker_error(std::string detail);

}  // namespace agenttask::agent
