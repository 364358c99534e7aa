#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "platform/settings/setting_catalog.hpp"
#include "server/http/http_server.hpp"

namespace agenttask::server {

/// What an administrator sets for agenttask-server. settings.cpp holds the one table of all of it: names,
/// defaults, bounds, help.
struct ServerSettings {
  std::vector<std::string> hosts;  ///< names in the server's certificate
  std::string listen_address;
  std::uint16_t port = 0;
  std::filesystem::path ready_file;
  std::filesystem::path certificate;
  std::filesystem::path private_key;
  std::filesystem::path certificate_authority;
  bool allow_tls12 = false;
  DurationMilliseconds server_certificate_life = 0;
  DurationMilliseconds device_certificate_life = 0;
  DurationMilliseconds retention = 0;
  std::int64_t keep_runs = 0;
  DurationMilliseconds message_retention = 0;
  std::int64_t keep_messages = 0;
  HttpLimits http;
  std::size_t network_threads = 0;
  std::size_t readers = 0;
  std::chrono::milliseconds stop_grace{0};
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
};

/// What there is to set, for help and the command line.
[[nodiscard]] const settings::SettingCatalog& server_settings();

/// Where settings come from, each overriding the one before: the file, the environment, the flags.
struct SettingSources {
  std::filesystem::path file;
  bool file_must_exist = false;  ///< somebody named it
  settings::EnvironmentLookup environment;
  settings::FlagValues flags;
};

/// Reads all of it. `invalid` names the source, the setting and what it may be; unknown settings are errors.
[[nodiscard]] Result<ServerSettings> read_settings(const SettingSources& sources);

/// All settings as a configuration file has them.
[[nodiscard]] std::string describe(const ServerSettings& settings);

/// A configuration file to begin with: all settings with their defaults as comments, and the names as given.
[[nodiscard]] std::string first_configuration(const std::vector<std::string>& hosts);

/// Names of settings that differ and count only from the next start on.
[[nodiscard]] std::vector<std::string> need_restart(const ServerSettings& before,
                                                    const ServerSettings& after);

}  // namespace agenttask::server
