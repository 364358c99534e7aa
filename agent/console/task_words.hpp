#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"
#include "platform/base/error.hpp"

/// The words on the command line that make a task, the same on the device and with fleet.
namespace agenttask::console {

/// How a task runs, as typed.
struct TaskWords {
  std::string description;
  std::vector<std::string> tags;
  std::string room;
  std::string world;
  std::string metadata;
  std::string timeout;
  std::string expires;
  std::string at;
  std::string max_output;
  std::optional<std::int64_t> priority;
  std::string key;
  std::optional<std::int64_t> attempts;
  std::string backoff;
  std::string max_backoff;
  std::string on_interrupt;
  bool outlives_agent = false;
  std::string every;
  std::string jitter;
  std::string overlap;
  std::string catch_up;
  std::vector<std::string> choices;
  std::string default_choice;
  std::string choose_until;
  std::string chooser;
  std::string like;  ///< the task that this one shall be like
};
void add_task_options(CLI::App& verb, TaskWords& words);
/// Room and world, which an update can't change.
void add_place_options(CLI::App& verb, TaskWords& words);
/// The question that it asks before it runs; an update can't change it.
void add_choice_options(CLI::App& verb, TaskWords& words);
/// Another task to take everything from that is not typed.
void add_like_option(CLI::App& verb, TaskWords& words);
/// Whether what was typed comes again or asks first, so that nobody waits for its end.
[[nodiscard]] bool outlasts_its_console(const TaskWords& words);

/// What a command is, as typed. A line, or the words after `--`.
struct CommandWords {
  std::string line;
  std::string cwd;
  std::vector<std::string> environment;
  std::string standard_input;
  std::string shell;
  std::string run_as;
};
void add_command_options(CLI::App& verb, CommandWords& words);

/// `data` of a command: `argv` from `rest` where there is one, else `cmd`. `local`: a relative --cwd is this
/// process's.
[[nodiscard]] Result<nlohmann::json> command_data(const CommandWords& words,
                                                  const std::optional<std::vector<std::string>>& rest,
                                                  bool local);

/// `--data`: a JSON object, `@FILE`, or `-` for standard input.
[[nodiscard]] Result<nlohmann::json> data_argument(const std::string& text);

/// The body of addTask. `invalid` names the option at fault.
[[nodiscard]] Result<nlohmann::json> task_request(const std::string& type, nlohmann::json data,
                                                  const TaskWords& words, UnixMilliseconds now);

/// The body of addTask for another task like `task`, an object of the API, with what was typed on top:
/// objects are merged key by key, all else is replaced. What is past begins anew: a time that the first had
/// is left out, a grid goes on with its next point, and it expires, and may be chosen, as long after its
/// beginning as the first. `typed`: as task_request makes it; its `data` counts where `has_data`.
[[nodiscard]] nlohmann::json like_request(const nlohmann::json& task, nlohmann::json typed, bool has_data,
                                          UnixMilliseconds now);

/// The body of an update: only what was typed.
[[nodiscard]] Result<nlohmann::json> task_changes(const TaskWords& words, UnixMilliseconds now);

/// `1048576`, `64KiB`, `4MiB`; also `64K`, `4M`.
[[nodiscard]] Result<std::int64_t> parse_size(std::string_view text);

/// All of a file, or of standard input for `-`; at most `most` bytes.
[[nodiscard]] Result<std::string> read_input(const std::string& file, std::size_t most);

}  // namespace agenttask::console
