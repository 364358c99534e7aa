#pragma once
#include <string>

#include "agent/ledger/task_rows.hpp"
#include "platform/protocol/message.hpp"

namespace agenttask::agent {

/// Notes a server's wish to run a task now, within the transaction that answers it. Gives why it is not done:
/// it was answered before, or that can't be told and the task has run since. Empty: it is to be done.
///
/// The newest requests of each task are remembered as long as the task is; their ids grow with time, so what
/// is newer than all of them is new.
[[nodiscard]] std::string note_run_request(storage::Database& database, const TaskRow& row,
                                           const RunDirective& directive);

}  // namespace agenttask::agent
