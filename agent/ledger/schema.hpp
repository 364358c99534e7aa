#pragma once
#include "platform/storage/database.hpp"

namespace agenttask::agent {

/// The tables of the agent's ledger.
[[nodiscard]] const storage::Schema& ledger_schema();

}  // namespace agenttask::agent
