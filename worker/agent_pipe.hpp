#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace agenttask::worker {

/// The standard streams of this process as its way to the agent, and the signals that end it. One body for
/// each system.
///
/// While it lives, descriptor 0 is an empty input, so that children and careless code don't take the agent's
/// lines; SIGTERM is an event (Ctrl-Break on Windows); SIGPIPE is none. Children get default signals. One at
/// a time in a process.
class AgentPipe {
 public:
  AgentPipe();
  ~AgentPipe();
  AgentPipe(const AgentPipe&) = delete;
  AgentPipe& operator=(const AgentPipe&) = delete;

  enum class Event {
    bytes,   ///< from the agent
    end,     ///< the agent has closed its end, or is dead
    signal,  ///< asked to end; what the agent wrote before is read first
    woken,   ///< `wake` was called
  };
  /// Waits. Threads: one reader.
  Event wait(std::string& bytes);
  /// Ends the reader's wait. Threads: any.
  void wake();
  /// All of it. False when nobody reads any more. Threads: one at a time.
  bool write(std::string_view bytes);
  /// Whether a person at a terminal started this program.
  [[nodiscard]] bool is_terminal() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::worker
