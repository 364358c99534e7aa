#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/console/screen.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/problem.hpp"

namespace CLI {
class App;
}

namespace agenttask::console {

/// What every verb has at hand. A verb adds itself to the command line, and when it was chosen sets `action`.
struct Console {
  explicit Console(Screen screen_) : screen(screen_) {}

  Screen screen;
  bool json = false;         ///< --json: exactly the API's objects
  std::string state_folder;  ///< --state-dir; empty: the system's agent
  /// The words after `--`, which the command line's parser never sees.
  std::optional<std::vector<std::string>> rest;
  bool takes_rest = false;      ///< the verb chosen reads `rest`
  std::function<int()> action;  ///< what to do once the command line is read; returns the exit code

  /// Prints the problem (with --json as its object) on standard error. Returns kFailure.
  [[nodiscard]] int fail(const Problem& problem) const;
  [[nodiscard]] int fail(const Error& error) const;
};

/// A verb's entry with what all have: --json, and --state-dir where it talks to the agent.
CLI::App* add_verb(CLI::App& parent, Console& console, const std::string& name,
                   const std::string& description, const std::string& examples);
CLI::App* add_agent_verb(CLI::App& parent, Console& console, const std::string& name,
                         const std::string& description, const std::string& examples);

/// The whole program: reads the command line, runs the verb, returns the exit code.
[[nodiscard]] int run(const std::vector<std::string>& arguments, Console& console);

/// The wall clock of this machine.
[[nodiscard]] UnixMilliseconds now();

}  // namespace agenttask::console
