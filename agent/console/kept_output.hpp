#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/console/console.hpp"
#include "agent/console_api/console_client.hpp"
#include "platform/protocol/task.hpp"

/// What a run wrote, where only its end is shown.
namespace agenttask::console {

/// The last bytes of each stream, however much comes.
class OutputTail {
 public:
  /// Chunks in the order of their offsets.
  void add(const OutputChunk& chunk);
  /// An event `output` of the agent, or a line of output of the server; anything else is left out.
  void add(std::string_view json_line);

  /// Both streams under their titles; empty where nothing was written.
  [[nodiscard]] std::string render(std::string_view verbs) const;
  /// The last line of standard error that is not blank, printable; empty where there is none.
  [[nodiscard]] std::string last_error_line() const;
  /// The line above, and where the rest is to be read; empty where nothing was written.
  [[nodiscard]] std::string last_words(const std::string& task_id, std::string_view verbs) const;
  [[nodiscard]] bool is_empty() const;

 private:
  struct Stream {
    std::string bytes;       ///< the last of them
    std::int64_t total = 0;  ///< in all
  };
  std::array<Stream, 2> streams_;  ///< standard output, standard error
};

/// Asks the agent for what the last run of a task wrote. Empty where there is none, or we may not see it.
[[nodiscard]] OutputTail last_output(agent::ConsoleClient& client, const std::string& id);

/// Prints what a run that has ended wrote, byte for byte; `run` 0: the last. Returns the exit code.
[[nodiscard]] int print_kept_output(const Console& console, const std::string& id, std::int64_t run);

}  // namespace agenttask::console
