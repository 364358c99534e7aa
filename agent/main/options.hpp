#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "platform/net/http_client.hpp"
#include "platform/settings/setting_catalog.hpp"

namespace agenttask::agent {

/// What an administrator sets for agenttaskd. options.cpp holds the one table of all of it: names, bounds,
/// help.
struct AgentOptions {
  std::filesystem::path config;     ///< the file that was read; empty: there is none
  std::filesystem::path state_dir;  ///< empty: the system's folders
  std::string server;               ///< URL; with a token the device enrols by itself
  std::string enrollment_token;
  std::string name;
  /// Server, token or name can't be used, and are empty: why. The agent runs without them.
  std::optional<Error> enrollment_problem;
  unsigned slots = 8;
  std::chrono::milliseconds poll_wait{55'000};
  std::chrono::milliseconds poll_interval{0};
  std::string proxy;
  std::string no_proxy;
  net::TlsVersion tls_minimum = net::TlsVersion::tls_1_3;
  std::filesystem::path policy;  ///< empty: policy.json in the configuration folder, if it is there
  std::vector<std::string> workers{"echo", "command", "service"};
  std::filesystem::path workers_folder;  ///< empty: workers in the configuration folder
  std::chrono::milliseconds shutdown_drain{30'000};
  std::chrono::milliseconds retention{0};
  unsigned keep_runs = 100;
  unsigned keep_messages = 10'000;
  std::int64_t outbox_bytes = 0;
  std::string console_group;
  std::string console_view_group;
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
};

enum class AgentVerb : std::uint8_t {
  run,
  check_config,
  ledger_check,
  ledger_salvage,
  ledger_reset,
  prepare_image,
  prepare_enrollment,
  run_outside,
  help,
  version
};

struct CommandLine {
  AgentVerb verb = AgentVerb::run;
  AgentOptions options;
  std::string text;                   ///< of help and version: to be printed
  bool json = false;                  ///< of the verbs that care for what is kept
  bool confirmed = false;             ///< of those that put things away: somebody means it
  std::filesystem::path folder = {};  ///< of run_outside: the run's
};

/// Reads configuration file, environment and flags, each overriding the one before. `invalid` names the
/// source, the setting and what it may be; unknown settings are errors. What can't be used of an enrolment is
/// one for those verbs alone that are about it, or about the settings.
[[nodiscard]] Result<CommandLine> read_options(const std::vector<std::string>& arguments,
                                               const settings::EnvironmentLookup& environment);

/// Names of settings that differ and count only from the next start on.
[[nodiscard]] std::vector<std::string> need_restart(const AgentOptions& before, const AgentOptions& after);

/// All settings as a configuration file would have them; token and proxy are not shown.
[[nodiscard]] std::string describe(const AgentOptions& options);

}  // namespace agenttask::agent
