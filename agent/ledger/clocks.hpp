#pragma once
#include <string_view>

#include "agent/ledger/ledger_write.hpp"

/// What the ledger does about clocks that somebody set: waits that are durations, and what is kept for a
/// time.
namespace agenttask::agent {

/// At each start: a wait that is a duration goes on by the clock it was measured with, within the same boot.
/// After a reboot only the wall clock can tell how much of it is left; where that was set back meanwhile, so
/// that more would be left than the whole wait was, it is over.
/// Says whether it is the same boot.
[[nodiscard]] bool resume_delays(LedgerWrite& write, std::string_view boot_id);

/// Ready tasks can't have waited since a time that is still to come: they wait since now.
void wait_since_now(LedgerWrite& write);

/// Looks at the clocks, and remembers that. Returns how long this ledger has lived
/// (platform/base/lived_time.hpp). `boot_id`: never empty.
[[nodiscard]] DurationMilliseconds look_at_clocks(LedgerWrite& write, const Clock& clock,
                                                  std::string_view boot_id);

}  // namespace agenttask::agent
