#pragma once
#include <memory>
#include <string>

#include "agent/main/options.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "platform/os/paths.hpp"

namespace agenttask::agent {

/// All parts of the agent, put together: lock, ledger, policy, workers, runner, sync, console.
///
/// Threads: one owner. Crash: what the parts say; whatever a crash left is picked up by the next start().
class Agent {
 public:
  /// Starts everything; then tasks run. `conflict`: another agent owns the state folder. With a ledger that
  /// can't be used it starts too: it says so to its server and its console, starts no task, and goes on by
  /// itself once the ledger can be used.
  static Result<std::unique_ptr<Agent>> start(const AgentOptions& options, const Clock& clock, Logger& log);
  /// Stops, where stop() was not called.
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  /// Takes over what may change while it runs, and reads the policy file again.
  void reload(const AgentOptions& options);
  /// A stop, also one that is under way, waits no more for running tasks.
  void hurry();
  /// Starts nothing new, lets running tasks end for the drain time, then stops them; tells the server what
  /// happened, if it listens; closes the console.
  void stop();
  /// Returns when the parts that run and report tasks answer; hangs when one of them does.
  void look_alive() const;
  [[nodiscard]] std::string summary() const;  ///< one line for the service manager

 private:
  class Body;
  explicit Agent(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

/// Where this agent keeps its files.
[[nodiscard]] os::Folders folders_of(const AgentOptions& options);
[[nodiscard]] std::filesystem::path ledger_file(const os::Folders& folders);

/// Where this agent's policy file is, or would be: one that is put there later counts from the next reload
/// on.
[[nodiscard]] std::filesystem::path policy_file(const AgentOptions& options);

}  // namespace agenttask::agent
