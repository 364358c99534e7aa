#pragma once
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "agent/console_api/console_server.hpp"
#include "agent/console_api/rights.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/os/local_socket.hpp"

namespace agenttask::agent {

/// The calls of the console (docs/console-protocol.md): a request line in, answer lines out, no socket in
/// sight.
///
/// Threads: any number at once; a long-lived call keeps its thread until it ends, `gone` says so, or `stop`
/// asks.
class ConsoleCalls {
 public:
  /// What a call has of the connection that it came over.
  struct Caller {
    const os::Peer& peer;
    /// Sends one line, without newline. An error ends the call.
    std::function<Result<void>(std::string_view line)> send;
    std::function<bool()> gone;  ///< nobody waits for the answer any more
    std::stop_token stop;        ///< the agent is stopping
  };

  ConsoleCalls(const ConsoleSettings& settings, const ConsoleControls& controls, Ledger& ledger,
               Runner& runner, const Clock& clock);

  /// Answers one request line. An error when the connection can't go on.
  Result<void> answer(std::string_view line, const Caller& caller) const;

  struct Call;

 private:
  [[nodiscard]] Result<std::string> dispatch(std::string_view line, const Caller& caller) const;

  [[nodiscard]] Result<std::string> create_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_tasks(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_runs(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_output(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> explain_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> update_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> delete_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> cancel_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> watch(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> status(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> switch_hold(const nlohmann::json& arguments, bool hold) const;
  [[nodiscard]] Result<std::string> hold(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> release(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> enroll(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> unenroll(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> diagnostics(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_workers(const nlohmann::json& arguments, const Caller& caller) const;

  /// The task with its result, the output of a command included.
  [[nodiscard]] Result<std::string> whole_task(std::string_view id) const;
  /// Sends events until the task has ended; then its whole object.
  [[nodiscard]] Result<std::string> follow(const std::string& id, bool output, const Caller& caller) const;

  const ConsoleSettings& settings_;
  const ConsoleControls& controls_;
  Ledger& ledger_;
  Runner& runner_;
  const Clock& clock_;
  UnixMilliseconds started_;
};

}  // namespace agenttask::agent
