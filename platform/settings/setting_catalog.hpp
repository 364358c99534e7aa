#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"

namespace CLI {
class App;
}

namespace agenttask::settings {

/// What people see of one setting: as `--name`, as PREFIX_NAME in the environment, and as `name = value` in
/// the configuration file.
struct SettingInfo {
  std::string_view name;
  std::string_view value;          ///< what it takes, for help: `TIME`
  std::string_view standard = {};  ///< its default, in the form in which it is given; empty: none
  std::string_view help;
  bool reloads = false;         ///< SIGHUP applies it; the others count from the next start
  bool secret = false;          ///< never shown
  bool list = false;            ///< several values: a flag given again adds to the one before
  std::string_view alias = {};  ///< another name of its flag
  bool spared = false;          ///< where it can't be used, a program may go on with it empty
};

/// Why settings can't be used, by their names.
using SettingProblems = std::map<std::string, Error, std::less<>>;

/// One variable of the environment; none where it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// What flags gave, by the names of the settings.
using FlagValues = std::map<std::string, std::string, std::less<>>;

/// Where settings come from; each overrides the one before.
struct Sources {
  std::filesystem::path file;     ///< for errors; nobody opens it here
  std::string configuration;      ///< what it holds
  EnvironmentLookup environment;  ///< must be callable
  FlagValues flags;
};

/// What a program calls itself.
struct ProgramNames {
  std::string help_command;     ///< what lists the settings: `agenttaskd --help`
  std::string variable_prefix;  ///< `AGENTTASK_`
};

/// The settings of a program without their types: what files, variables, flags and help need. SettingTable
/// adds the values. Threads: any, it never changes.
class SettingCatalog {
 public:
  SettingCatalog(ProgramNames program, std::vector<SettingInfo> settings);

  [[nodiscard]] const std::vector<SettingInfo>& settings() const { return settings_; }

  /// AGENTTASK_LOG_LEVEL for log-level.
  [[nodiscard]] std::string variable(std::string_view name) const;

  /// "Tasks that run at once (default 8) [AGENTTASK_SLOTS]".
  [[nodiscard]] std::string flag_help(const SettingInfo& setting) const;

  /// Makes flags of all settings, or of one. Parsing fills `values`, which must live until then.
  void add_flags(CLI::App& app, FlagValues& values) const;
  void add_flag(CLI::App& app, std::string_view name, FlagValues& values) const;

 protected:
  using Set = std::function<Result<void>(std::size_t index, std::string_view text)>;
  using Get = std::function<std::string(std::size_t index)>;

  /// `spared`: takes the problems of settings that are; none: they are errors, too.
  Result<void> apply(const Sources& sources, const Set& set, SettingProblems* spared) const;
  [[nodiscard]] std::string describe_with(const Get& get) const;
  [[nodiscard]] std::vector<std::string> need_restart_with(const Get& before, const Get& after) const;

 private:
  /// Where values go, and what becomes of those that can't be used.
  struct Sink {
    const Set& set;
    SettingProblems* spared;
  };
  Result<void> apply_file(const Sources& sources, const Sink& sink) const;
  Result<void> apply_one(std::size_t index, std::string_view text, const std::string& source,
                         const Sink& sink) const;
  Result<void> refuse(std::size_t index, ErrorCode code, std::string why, const Sink& sink) const;
  void add_flag(CLI::App& app, const SettingInfo& setting, FlagValues& values) const;

  ProgramNames program_;
  std::vector<SettingInfo> settings_;
};

}  // namespace agenttask::settings
