#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "agent/sync/identity.hpp"
#include "platform/base/error.hpp"
#include "platform/os/paths.hpp"

/// What the agent's files tell while it does not run. Only root and the agent's own user can read them.
namespace agenttask::console {

constexpr const char* kLedgerFile = "ledger.db";    ///< in the state folder
constexpr const char* kPolicyFile = "policy.json";  ///< in the configuration folder

struct LedgerFile {
  std::uintmax_t bytes = 0;  ///< with its write-ahead log
  bool is_database = false;  ///< begins as an SQLite file does
};

/// `not_found` before the agent's first start; `denied` where we may not look.
[[nodiscard]] Result<LedgerFile> look_at_ledger(const os::Folders& folders);

/// `not_found`, `denied`, or `invalid` when it is no folder.
[[nodiscard]] Result<void> look_at_folder(const std::filesystem::path& folder);

/// Enrolment as the files have it.
struct Enrolment {
  std::optional<agent::Identity> identity;
  std::optional<agent::PendingEnrollment> pending;
};
[[nodiscard]] Result<Enrolment> look_at_enrolment(const os::Folders& folders);

}  // namespace agenttask::console
