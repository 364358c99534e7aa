#pragma once
#include <filesystem>

#include "platform/base/error.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/message.hpp"
#include "platform/storage/database.hpp"

/// The ledger as a file: who holds it, how it is opened, and what is said of one that can't be used. The
/// agent and the verbs of an administrator (ledger_care.hpp) meet here, and nowhere else.
namespace agenttask::agent {

/// Whoever opens, saves or removes the ledger holds this lock beside it, `ledger.lock`. An agent whose ledger
/// can't be used lets go of it, so that it can be mended while the agent runs.
[[nodiscard]] Result<os::FileLock> hold_ledger(const std::filesystem::path& file);

/// Opens or creates the ledger for this process alone. Call it with the lock held. Where a salvage was cut
/// off after it had put the damaged file away, this puts the saved one in its place first; one that was cut
/// off before, and left its saved ledger beside one that can be opened, comes to nothing.
[[nodiscard]] Result<storage::Database> open_ledger_file(const std::filesystem::path& file,
                                                         std::optional<std::int64_t> max_page_count = {});

/// Where salvage leaves what it saved until that takes the ledger's place: whole, or not there.
[[nodiscard]] std::filesystem::path saved_ledger(const std::filesystem::path& file);
/// Where there is no ledger: puts the saved one in place if there is one, and removes the log of one that was
/// put away.
Result<void> finish_salvage(const std::filesystem::path& file);
/// Removes the log that lies beside the place of a ledger that is not there.
Result<void> remove_log(const std::filesystem::path& file);

/// What the server, `status` and `doctor` are told: what is wrong, and which command mends it.
[[nodiscard]] LedgerProblem describe_ledger_problem(const Error& error);

}  // namespace agenttask::agent
