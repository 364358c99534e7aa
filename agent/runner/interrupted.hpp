#pragma once
#include <string>
#include <vector>

#include "agent/ledger/ledger_types.hpp"
#include "agent/workers/task_worker.hpp"
#include "platform/os/process.hpp"

namespace agenttask::agent {

/// The recorder of a run outside the agent's service is gone, and has said nothing.
inline constexpr const char* kRecorderLost =
    "the machine stopped while it ran outside the agent, or what recorded it was killed";
/// Nobody had begun it, and nobody will.
inline constexpr const char* kNotBegun = "the agent stopped before it had begun outside the agent";

/// How a run ended that was cut off: with the output so far, and what could not be stopped of it.
[[nodiscard]] RunOutcome interrupted_outcome(RunContext::OutputCount standard_output,
                                             RunContext::OutputCount standard_error,
                                             const std::vector<os::ProcessInfo>& survivors,
                                             std::string detail);

}  // namespace agenttask::agent
