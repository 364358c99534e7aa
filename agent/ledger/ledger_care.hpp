#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

/// What an administrator does with a ledger while no agent has it open: look whether it is sound, save what
/// can be read of a damaged one, begin anew. Each holds the ledger's lock meanwhile: `conflict` where an
/// agent that can use its ledger has it. An agent that can't goes on by itself afterwards.
namespace agenttask::agent {

/// What a look at a ledger found.
struct LedgerReport {
  std::int32_t version = 0;  ///< of its tables
  std::int32_t known_version = 0;
  std::int64_t tasks = 0;
  std::int64_t runs = 0;
  std::int64_t remembered = 0;  ///< ids of tasks that were removed, so that they don't run again
  std::int64_t outbox_reports = 0;
  std::vector<std::string> findings;  ///< empty: it is sound
};
/// Changes nothing. An error where there is nothing to look at: `not_found`, `denied`, `conflict`; damage, a
/// version that is not known and broken rules of the ledger are findings.
[[nodiscard]] Result<LedgerReport> check_ledger(const std::filesystem::path& file);

struct SalvagedRows {
  std::string table;
  std::int64_t saved = 0;
  std::string problem;  ///< empty: the table was read whole
};

/// What became of a damaged ledger.
struct SalvageReport {
  std::vector<std::string> findings;  ///< what was wrong with it
  std::vector<SalvagedRows> tables;
  std::vector<std::string> ended;   ///< ids of tasks that may have started unseen: they ended as interrupted
  std::vector<std::string> passed;  ///< recurring ones: they go on with the next point of their grid
  std::vector<std::string> lost;    ///< ids of tasks of which nothing else is left
  std::filesystem::path kept;       ///< the damaged file, as it was
  bool held = false;                ///< whether somebody had said hold is not known: now it is on hold
  bool knows_its_past = false;      ///< the server takes the device without an operator's release
};
/// Saves tasks, runs, output, results, messages, remembered ids, requests' digests and the chain of starts
/// into a new ledger that takes the damaged one's place. What may have started is never run again: a task of
/// which that can't be told from what is left ends as `failed`, `interrupted`; all others go on. `spool`: the
/// folder of running tasks' files, which tell of starts too; `boot_id`: of this boot, as the agent has it.
/// `not_found`; `corrupt`: nothing at all can be read; `newer`; `conflict`. Crash: at each point there is the
/// damaged ledger or the saved one, whole (ledger_file.hpp).
[[nodiscard]] Result<SalvageReport> salvage_ledger(const std::filesystem::path& file,
                                                   const std::filesystem::path& spool, const Clock& clock,
                                                   std::string_view boot_id);

/// Whether a salvage that was cut off had saved a ledger and put the damaged one away: then the saved one has
/// its place now, as it would have at the agent's next start.
[[nodiscard]] Result<bool> finish_cut_off_salvage(const std::filesystem::path& file);

/// Puts the ledger away, whatever it is: the next open makes an empty one. Returns where it is kept.
/// `not_found`: there is none. Crash: it is there as it was, or away.
[[nodiscard]] Result<std::filesystem::path> put_ledger_away(const std::filesystem::path& file,
                                                            const Clock& clock);

}  // namespace agenttask::agent
