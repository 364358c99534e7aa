#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "server/authority/authority.hpp"
#include "server/http/ticket_keys.hpp"
#include "server/main/settings.hpp"
#include "server/store/store.hpp"

namespace agenttask::server {

/// Where one server keeps everything that has to outlive it. All files are readable by the service only.
struct StateFolder {
  std::filesystem::path folder;
  std::filesystem::path configuration;  ///< the file of settings, where nobody named another

  [[nodiscard]] std::filesystem::path database() const { return folder / "server.db"; }
  [[nodiscard]] std::filesystem::path authority() const { return folder / "authority"; }
  [[nodiscard]] std::filesystem::path lock() const { return folder / "server.lock"; }
  [[nodiscard]] std::filesystem::path ticket_keys() const { return folder / "ticket.keys"; }
  /// Where a backup is made ready to take this state's place, and the same once it is: from then on it does,
  /// also where that is cut off (restore.hpp).
  [[nodiscard]] std::filesystem::path restore_part() const { return folder / "restore.part"; }
  [[nodiscard]] std::filesystem::path restore_ready() const { return folder / "restore.ready"; }
};

/// `given`, or the system's folder where that is empty.
[[nodiscard]] StateFolder state_folder(const std::filesystem::path& given);

/// `not_found` unless `init` has been here; `unavailable` while a restore is not finished: then what is there
/// is not one state.
[[nodiscard]] Result<void> check_initialised(const StateFolder& state);

/// The names that the settings give, or those that fit every machine.
[[nodiscard]] std::vector<std::string> server_names(const ServerSettings& settings);

[[nodiscard]] Result<std::unique_ptr<Authority>> open_authority(const StateFolder& state,
                                                                const ServerSettings& settings,
                                                                const Clock& clock);

/// The database, which is refused and left as it is when it is damaged, newer or not ours.
[[nodiscard]] Result<std::unique_ptr<Store>> open_store(const StateFolder& state);

/// The keys of the last run, brought up to date. Damaged or missing ones are made anew: that costs full
/// handshakes only.
[[nodiscard]] std::shared_ptr<TicketKeys> load_ticket_keys(const StateFolder& state, const Clock& clock,
                                                           Logger& logger);
/// Rotates and keeps them when it is time.
void maintain_ticket_keys(const StateFolder& state, TicketKeys& keys, const Clock& clock, Logger& logger);

}  // namespace agenttask::server
