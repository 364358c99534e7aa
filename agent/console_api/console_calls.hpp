#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "agent/console_api/console_server.hpp"
#include "agent/console_api/rights.hpp"
#include "agent/ledger/ledger_types.hpp"
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

  /// Answers one request line. A call may answer by itself: then its result is empty. An error when the
  /// connection can't go on.
  Result<void> answer(std::string_view line, const Caller& caller) const;

  struct Call;

 private:
  [[nodiscard]] Result<std::string> dispatch(std::string_view line, const Caller& caller) const;

  [[nodiscard]] Result<std::string> create_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_tasks(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_runs(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> explain_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> update_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> delete_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> cancel_task(const nlohmann::json& arguments, const Caller& caller) const;
  // console_following.cpp
  [[nodiscard]] Result<std::string> get_output(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> watch(const nlohmann::json& arguments, const Caller& caller) const;
  // console_steering.cpp
  [[nodiscard]] Result<std::string> choose_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> pause_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> resume_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> run_task(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> create_message(const nlohmann::json& arguments,
                                                   const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_messages(const nlohmann::json& arguments, const Caller& caller) const;
  // console_device.cpp
  [[nodiscard]] Result<std::string> status(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> switch_hold(const nlohmann::json& arguments, bool hold) const;
  [[nodiscard]] Result<std::string> hold(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> release(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> enroll(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> unenroll(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> diagnostics(const nlohmann::json& arguments, const Caller& caller) const;
  [[nodiscard]] Result<std::string> get_workers(const nlohmann::json& arguments, const Caller& caller) const;

  /// What a caller who may only choose sees: the task that `text` means where it is for whoever is logged in,
  /// without data and result. Any other is unknown to them.
  [[nodiscard]] Result<Task> task_for_chooser(std::string_view text) const;
  /// The tasks that wait for a choice of whoever is logged in, the newest first.
  [[nodiscard]] Result<std::string> tasks_for_chooser(const TaskFilter& filter,
                                                      std::optional<std::int64_t> cursor,
                                                      std::size_t most) const;

  /// The task with its result, the output of a command included.
  [[nodiscard]] Result<std::string> whole_task(std::string_view id) const;
  /// Which part of a task's life is followed.
  struct Following {
    bool output = true;
    std::int64_t after = 0;  ///< runs up to this number are left out
    bool one_run = false;    ///< ends when the first run has ended and is not tried again
  };
  /// Sends events until the task has ended; then its whole object. With `one_run`: `{"task","run"}`.
  [[nodiscard]] Result<std::string> follow(const std::string& id, const Following& what,
                                           const Caller& caller) const;
  /// The answer to `one_run`; nothing while that run, or another attempt of it, goes on.
  [[nodiscard]] Result<std::optional<std::string>> settled_run(const std::string& id, std::int64_t run) const;
  /// Whose messages; empty: any.
  struct RoomFilter {
    std::string room;
    std::string world;
  };
  /// Sends the messages that fit as they come, until the caller is gone.
  [[nodiscard]] Result<std::string> follow_messages(const RoomFilter& wanted, std::size_t most,
                                                    const Caller& caller) const;

  const ConsoleSettings& settings_;
  const ConsoleControls& controls_;
  Ledger& ledger_;
  Runner& runner_;
  const Clock& clock_;
  UnixMilliseconds started_;
};

}  // namespace agenttask::agent
