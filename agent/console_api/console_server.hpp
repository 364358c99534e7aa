#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

class Ledger;
class Runner;

/// Who may use the console, and where it listens.
///
/// The right to *run* (everything: create, cancel, delete, hold, enrol, and look) belongs to root, to the
/// user the agent itself runs as, and to members of `run_group`. The right to *view* belongs to those and to
/// members of `view_group`: what commands print can be secret, so nobody else sees it unless an administrator
/// says so. The right to *choose* belongs to those and to whoever is logged in, which is whose process runs
/// under a person's account (os::Peer::is_person): they see the tasks whose `chooser` is `user`, without data
/// and results, and answer them.
struct ConsoleSettings {
  std::string address;     ///< as os::Folders::console_address gives it
  std::string run_group;   ///< empty: no group
  std::string view_group;  ///< empty: no group
};

/// What the console asks of the parts of the agent that lie beside ledger and runner. Given by main; each may
/// be called from several threads at once and must come back within seconds. One that is empty answers
/// `unsupported`.
struct ConsoleControls {
  /// The state of the link to the server, a JSON object: becomes `server` in the answer to `status`.
  std::function<std::string()> server_status;
  /// What only the agent knows about its own health, a JSON object: becomes part of the answer to
  /// `diagnostics`.
  std::function<std::string()> diagnostics;
  /// The workers of this device, a JSON object: the answer to `getWorkers`.
  std::function<std::string()> workers;
  /// What keeps a new task from running as the device is now, a sentence each: becomes `warnings` in the
  /// answer to `createTask`.
  std::function<std::vector<std::string>(const TaskSpec& task)> concerns;
  /// Stores the wish to enrol with this server; sync carries it out and tries again while the server is away.
  std::function<Result<void>(const std::string& url, const std::string& token, const std::string& name)>
      enroll;
  /// Forgets the server, the node's key and its certificate. Tasks stay.
  std::function<Result<void>()> unenroll;
};

/// The agent's end of the local socket: answers the console (docs/console-protocol.md).
///
/// Threads: one accepts, one serves each connection, at most `kConsoleConnections`, and of those who may only
/// choose at most `kConsoleChoosers`; the next ones are told to come back later. A client that is slow,
/// silent, hostile or gone costs its own thread only, and only for a bounded time: nothing of the agent ever
/// waits for it. Crash: holds nothing; whatever was answered is in the ledger.
class ConsoleServer {
 public:
  /// Listens. `ledger`, `runner`, `clock` and `logger` outlive the server; stop it before they go.
  /// `conflict` when another agent has the socket, `not_found` for an unknown group.
  static Result<std::unique_ptr<ConsoleServer>> start(ConsoleSettings settings, ConsoleControls controls,
                                                      Ledger& ledger, Runner& runner, const Clock& clock,
                                                      Logger& logger);
  /// Stops.
  ~ConsoleServer();
  ConsoleServer(const ConsoleServer&) = delete;
  ConsoleServer& operator=(const ConsoleServer&) = delete;

  /// Closes every connection and comes back when all threads have ended. What they asked for stays asked for.
  void stop();

 private:
  struct State;
  explicit ConsoleServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::agent
