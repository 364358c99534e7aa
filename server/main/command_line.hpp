#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "server/main/settings.hpp"

namespace agenttask::server {

enum class Verb : std::uint8_t {
  run,
  init,
  create_token,
  list_operators,
  revoke_operator,
  reset_operator,
  check_config,
  backup,
  restore,
  text
};

/// What somebody typed.
struct CommandLine {
  Verb verb = Verb::text;
  std::string text;                     ///< of `text`: help or version, to be printed
  std::filesystem::path state_dir;      ///< empty: the system's
  std::filesystem::path configuration;  ///< empty: the usual one, if it is there
  settings::FlagValues flags;

  bool without_admin = false;  ///< of `init`: nobody gets a token yet

  // of `token create`
  DurationMilliseconds ttl = 0;
  std::int64_t uses = 1;
  std::string description;
  std::map<std::string, std::string> labels;
  std::string replace;  ///< id or name of a node

  // of `operator reset`
  std::string operator_label;

  // of `backup` and `restore`
  std::filesystem::path backup;  ///< the folder of the backup
  bool replace_state = false;    ///< of `restore`: a server that is there is put aside
  bool json = false;

  // of `operator revoke`
  std::string operator_name;  ///< id or label
};

/// `invalid` says what is wrong with the command line.
[[nodiscard]] Result<CommandLine> read_command_line(const std::vector<std::string>& arguments,
                                                    const settings::EnvironmentLookup& environment);

}  // namespace agenttask::server
