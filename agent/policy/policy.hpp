#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

/// The rules of one policy file, which no server can change:
///
///     {
///       "types": ["echo", "command", "service"],
///       "services": ["solana"],
///       "command": {
///         "argv": [["/usr/bin/uptime"], ["/bin/ls", "-l"]],
///         "shell": false,
///         "env": false,
///         "runAs": ["nobody"],
///         "outlivesAgent": false
///       }
///     }
///
/// `types`: what may run; absent: all. `services`: what tasks of the type `service` may call; absent: all.
/// `argv`: exactly these; absent: any. `shell`: whether shell lines
/// (`cmd`) may run; absent: only where there is no `argv`. `env`: whether a task may set variables, which can
/// turn an allowed program into another; absent: only where there is no `argv`. `runAs`: users that a task
/// may name; absent: any; to name none is always allowed. `outlivesAgent`: whether a command may run outside
/// the agent's service, and so outside of what an administrator laid around that; absent: only where there is
/// no `argv`. Unknown members are errors, so that a typing mistake can't open the device.
struct PolicyRules {
  std::optional<std::vector<std::string>> types;
  std::optional<std::vector<std::string>> services;
  std::optional<std::vector<std::vector<std::string>>> argv;
  std::optional<bool> shell;
  std::optional<bool> env;
  std::optional<std::vector<std::string>> run_as;
  std::optional<bool> outlives_agent;
};
[[nodiscard]] Result<PolicyRules> parse_policy(std::string_view text);
/// `denied` with the rule that refuses the task, for people.
[[nodiscard]] Result<void> check_rules(const PolicyRules& rules, const TaskSpec& spec);

/// Decides what may run on this device, for tasks from a server and local ones alike.
///
/// No file: everything may. A file that can't be read, is not what it should be, or may be changed by others
/// than its owner and root: nothing may until it is mended, and what is due waits and says why. Threads: any.
class Policy {
 public:
  /// An empty path means no policy.
  explicit Policy(std::filesystem::path file);

  /// Reads the file again; what it says counts from now on. The error is for the log: it is in force already.
  [[nodiscard]] Result<void> reload();
  /// `denied` with the rule that refuses it, for people; `unavailable` while the file can't be used: nothing
  /// runs then, and nothing is refused for good.
  [[nodiscard]] Result<void> check(const TaskSpec& spec) const;
  /// For `status` and `doctor`: "none", "in force", or why everything is refused.
  [[nodiscard]] std::string describe() const;

 private:
  std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::shared_ptr<const PolicyRules> rules_;  ///< null: no policy, or broken
  std::string broken_;                        ///< why everything is refused; empty: it is not
};

}  // namespace agenttask::agent
