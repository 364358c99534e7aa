#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "platform/base/error.hpp"
#include "platform/protocol/problem.hpp"

namespace agenttask::agent {

/// What a call came to: a JSON object, or the problem.
struct Answer {
  std::string json;
  std::optional<Problem> problem;
  [[nodiscard]] bool ok() const { return !problem; }
};

/// The console's end of the local socket (docs/console-protocol.md). One call at a time. Threads: one owner.
class ConsoleClient {
 public:
  /// `unavailable` when no agent listens there, `denied` when this user may not connect; the message says
  /// what to do.
  static Result<ConsoleClient> connect(const std::string& address);
  ~ConsoleClient();
  ConsoleClient(ConsoleClient&&) noexcept;
  ConsoleClient& operator=(ConsoleClient&&) noexcept;

  /// One question, one answer. `arguments`: the JSON text of an object. A connection that breaks is a problem
  /// `agent-unavailable`.
  Answer call(std::string_view name, std::string_view arguments);

  /// What to do after an event, or after `tick` without one.
  enum class Next : std::uint8_t { go_on, leave };
  /// One line of a long-lived call, a JSON object; empty: `tick` passed without one.
  using OnEvent = std::function<Next(std::string_view event)>;
  /// A long-lived call: `on_event` gets each event; the answer is the last one, or empty when `on_event`
  /// left.
  Answer follow(std::string_view name, std::string_view arguments, std::chrono::milliseconds tick,
                const OnEvent& on_event);

 private:
  struct State;
  explicit ConsoleClient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::agent
