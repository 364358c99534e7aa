#include "server/main/state_folder.hpp"

#include <system_error>

#include "platform/os/host.hpp"
#include "platform/os/paths.hpp"
#include "platform/os/secure_file.hpp"
#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

constexpr std::size_t kTicketFileBytes = 64 * 1024;

}  // namespace

StateFolder state_folder(const std::filesystem::path& given) {
  if (!given.empty()) {
    const auto folders = os::folders_inside(given);
    return {folders.state, folders.config / "server.conf"};
  }
  const auto folders = os::default_folders();
  // Beside the agent's, which is that program's alone: the server runs as another user.
  return {folders.state.string() + "-server", folders.config / "server.conf"};
}

Result<void> check_initialised(const StateFolder& state) {
  std::error_code ignored;
  if (std::filesystem::exists(state.restore_ready(), ignored)) {
    return Error{ErrorCode::unavailable,
                 "a restore into " + state.folder.string() +
                     " is not finished: if it was cut off, the next start of the server finishes it "
                     "(agenttask-server run), or do it again (agenttask-server restore BACKUP)"};
  }
  if (std::filesystem::exists(state.authority() / "authority.pem", ignored)) return {};
  return Error{ErrorCode::not_found,
               "there is no server in " + state.folder.string() +
                   "; make one with `agenttask-server init`, or name its folder with --state-dir"};
}

std::vector<std::string> server_names(const ServerSettings& settings) {
  if (!settings.hosts.empty()) return settings.hosts;
  std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
  if (const auto own = os::host_name(); own != "localhost") names.insert(names.begin(), own);
  return names;
}

Result<std::unique_ptr<Authority>> open_authority(const StateFolder& state, const ServerSettings& settings,
                                                  const Clock& clock) {
  AuthoritySettings wanted;
  wanted.folder = state.authority();
  wanted.server_names = server_names(settings);
  wanted.server_lifetime = settings.server_certificate_life;
  wanted.device_lifetime = settings.device_certificate_life;
  if (!settings.certificate.empty()) {
    wanted.own =
        OwnServerCertificate{settings.certificate, settings.private_key, settings.certificate_authority};
  }
  return Authority::open(std::move(wanted), clock);
}

Result<std::unique_ptr<Store>> open_store(const StateFolder& state) {
  return open_sqlite_store(state.database());
}

std::shared_ptr<TicketKeys> load_ticket_keys(const StateFolder& state, const Clock& clock, Logger& logger) {
  std::shared_ptr<TicketKeys> keys;
  if (const auto bytes = os::read_file(state.ticket_keys(), kTicketFileBytes)) {
    if (auto decoded = TicketKeys::decode(*bytes)) {
      keys = std::move(*decoded);
    } else {
      logger.warning("made new session ticket keys", {{"reason", decoded.error().message}});
    }
  }
  if (!keys) keys = std::make_shared<TicketKeys>();
  maintain_ticket_keys(state, *keys, clock, logger);
  return keys;
}

void maintain_ticket_keys(const StateFolder& state, TicketKeys& keys, const Clock& clock, Logger& logger) {
  if (!keys.rotate(clock.wall())) return;
  const auto done = commit_at(commit_point::kTicketKeysKept, [&] {
    return os::write_file(state.ticket_keys(), keys.encode(), os::Readable::by_owner);
  });
  if (!done) {
    logger.warning("session ticket keys will not outlive a restart", {{"error", done.error().message}});
  }
}

}  // namespace agenttask::server
