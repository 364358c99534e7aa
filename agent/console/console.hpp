#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/console/screen.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/problem.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace agenttask::console {

/// What every verb has at hand. A verb adds itself to the command line, and when it was chosen its action
/// runs.
struct Console {
  explicit Console(Screen screen_) : screen(screen_) {}

  Screen screen;
  bool json = false;         ///< --json: exactly the API's objects
  std::string state_folder;  ///< --state-dir, AGENTTASK_STATE_DIR; empty: the system's agent
  /// The words after `--`, which the parser of the command line never sees.
  std::optional<std::vector<std::string>> rest;
  bool takes_rest = false;  ///< the verb chosen reads `rest`
  /// How long a verb waits for an agent that does not listen: it may be just starting.
  std::chrono::milliseconds patience{1500};
  std::function<int()> action;  ///< of the verb chosen; returns the exit code

  /// Prints the problem (with --json as its object) on standard error. Returns kFailure.
  [[nodiscard]] int fail(const Problem& problem) const;
  [[nodiscard]] int fail(const Error& error) const;
  /// Prints a JSON text and a newline.
  void print_json(const std::string& text) const;
};

/// A verb as all are: --json, examples below its help, and what it does when it is chosen.
struct Verb {
  std::string name;
  std::string summary;      ///< one line of --help
  std::string examples;     ///< a line each
  bool takes_rest = false;  ///< reads what follows `--`
};
CLI::App* add_verb(CLI::App& parent, Console& console, const Verb& verb, std::function<int()> action);
/// The same for verbs that talk to the agent of this device: with --state-dir.
CLI::App* add_agent_verb(CLI::App& parent, Console& console, const Verb& verb, std::function<int()> action);

/// A verb that only holds others, as fleet does: one of them has to follow.
CLI::App* add_verb_group(CLI::App& parent, const std::string& name, const std::string& summary);

/// The ID of a task of this device; the same for all verbs.
void add_task_id(CLI::App& verb, std::string& id);

/// Restricts what an option takes, with a message that names what is allowed.
void allow_only(CLI::Option& option, std::vector<std::string> words);
void allow_range(CLI::Option& option, std::int64_t least, std::int64_t most);

/// The whole program: reads the command line, runs the verb, returns the exit code.
[[nodiscard]] int run(std::vector<std::string> arguments, Console& console);

/// The wall clock of this machine.
[[nodiscard]] UnixMilliseconds now();

// The verbs, one file each.
void add_echo(CLI::App& root, Console& console);
void add_command(CLI::App& root, Console& console);
void add_service(CLI::App& root, Console& console);
void add_add(CLI::App& root, Console& console);
void add_list(CLI::App& root, Console& console);
void add_show(CLI::App& root, Console& console);
void add_explain(CLI::App& root, Console& console);
void add_watch(CLI::App& root, Console& console);
void add_output(CLI::App& root, Console& console);
void add_runs(CLI::App& root, Console& console);
void add_cancel(CLI::App& root, Console& console);
void add_choose(CLI::App& root, Console& console);
void add_pause(CLI::App& root, Console& console);
void add_resume(CLI::App& root, Console& console);
void add_run(CLI::App& root, Console& console);
void add_messages(CLI::App& root, Console& console);
void add_post(CLI::App& root, Console& console);
void add_update(CLI::App& root, Console& console);
void add_delete(CLI::App& root, Console& console);
void add_status(CLI::App& root, Console& console);
void add_doctor(CLI::App& root, Console& console);
void add_hold(CLI::App& root, Console& console);
void add_release(CLI::App& root, Console& console);
void add_enroll(CLI::App& root, Console& console);
void add_unenroll(CLI::App& root, Console& console);
void add_workers(CLI::App& root, Console& console);
void add_worker(CLI::App& root, Console& console);
void add_fleet(CLI::App& root, Console& console);
void add_completion(CLI::App& root, Console& console);

}  // namespace agenttask::console
