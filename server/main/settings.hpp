#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
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
  HttpLimits http;
  std::size_t network_threads = 0;
  std::size_t readers = 0;
  std::chrono::milliseconds stop_grace{0};
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
};

/// One setting: as `--name`, as AGENTTASK_SERVER_NAME, and as `name = value` in the configuration file.
struct SettingField {
  std::string_view name;
  std::string_view value;     ///< what it takes, for help: `DURATION`
  std::string_view standard;  ///< its default, in the form in which it is given; empty: none
  std::string_view help;
  bool reloads;  ///< SIGHUP applies it; the others count from the next start
  Result<void> (*set)(ServerSettings& settings, std::string_view text);
  std::string (*get)(const ServerSettings& settings);
};
[[nodiscard]] std::span<const SettingField> setting_fields();

/// One variable of the environment; none where it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// AGENTTASK_SERVER_LOG_LEVEL for log-level.
[[nodiscard]] std::string variable_name(std::string_view setting);

/// Where settings come from, each overriding the one before: the file, the environment, the flags.
struct SettingSources {
  std::filesystem::path file;    ///< `name = value` a line, `#` begins a comment
  bool file_must_exist = false;  ///< somebody named it
  EnvironmentLookup environment;
  std::map<std::string, std::string, std::less<>> flags;  ///< by name
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
