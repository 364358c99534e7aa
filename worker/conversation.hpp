#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include <nlohmann/json.hpp>

#include "worker/agent_pipe.hpp"

namespace agenttask::worker {

using Json = nlohmann::json;

/// The lines between this process and the agent: one request, calls with their answers, a stop, the outcome.
/// A thread of its own reads what the agent says, so that a stop arrives while the worker works.
/// Threads: any, but for `request`.
class Conversation {
 public:
  /// Longest line to the agent, without its newline.
  static constexpr std::size_t kLongestLine = 2 * 1024 * 1024;
  static constexpr std::size_t kDeepest = 68;  ///< nesting of a line that is sent
  /// Longest line from the agent. Nothing near it comes from one that works.
  static constexpr std::size_t kLongestAnswer = 32 * 1024 * 1024;

  Conversation();
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  /// Waits for the first line of the agent that asks for something; empty when none comes. Once.
  std::optional<Json> request();
  /// Asks and waits for the answer. Throws `Problem`.
  Json call(std::string_view name, Json arguments);
  /// One line of the protocol. Throws `Problem` when it can't be one, or nobody reads it.
  void send(const Json& line);
  /// Ordinary output. False when nobody reads any more.
  bool print(std::string_view text);

  [[nodiscard]] std::stop_token stop() const { return stop_.get_token(); }
  [[nodiscard]] std::string stop_cause() const;
  /// Whether there is no agent but a person at a terminal.
  [[nodiscard]] bool is_terminal() const { return pipe_.is_terminal(); }

 private:
  void read_lines();
  void take_line(std::string_view line);
  void request_stop(std::string_view cause);
  void end();

  AgentPipe pipe_;
  std::stop_source stop_;

  mutable std::mutex mutex_;  ///< of what the reader shares with the others
  std::condition_variable changed_;
  std::optional<Json> request_;
  std::map<std::int64_t, Json> answers_;
  std::int64_t last_call_ = 0;
  std::string stop_cause_;
  bool ended_ = false;  ///< no more lines will come

  std::mutex output_;  ///< lines go out whole
  bool line_is_open_ = false;

  std::thread reader_;  ///< last: it uses all of the others
};

}  // namespace agenttask::worker
