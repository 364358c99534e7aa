#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/schedule_text.hpp"
#include "agent/console/screen.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

/// Tasks and runs as people read them. What came over a socket or the network is checked on the way in; what
/// is printed is made printable on the way out.
namespace agenttask::console {

/// What people want to know of a `result` object. Fields that are missing or of a wrong type stay empty.
struct RunResult {
  bool present = false;
  bool success = false;
  std::string code;     ///< error.code
  std::string message;  ///< error.message
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::optional<DurationMilliseconds> duration;
  std::optional<std::int64_t> stdout_bytes;  ///< in all, kept or not; none where nobody says
  std::optional<std::int64_t> stderr_bytes;
  bool truncated = false;
  std::vector<std::string> survivors;  ///< processes that could not be stopped
  std::string data;                    ///< JSON text of `data`, empty where there is none
  std::string standard_output;         ///< of a command
  std::string standard_error;
};

struct TaskView {
  Task task;  ///< without its result
  RunResult result;
  std::vector<std::string> requested;  ///< what the server asked of the device, which has not taken it yet
  std::string batch_id;                ///< of a task that one for many devices made
};

struct RunView {
  Run run;  ///< without its result
  RunResult result;
};

/// `invalid` when it is no task object.
[[nodiscard]] Result<TaskView> read_task(const nlohmann::json& value);
[[nodiscard]] Result<RunView> read_run(const nlohmann::json& value);

/// `sent (no-slot)`: the status, with the reason where there is one.
[[nodiscard]] std::string describe_status(const Task& task);
/// The line that says what a task is about: its description, or the command, or the message.
[[nodiscard]] std::string describe_work(const TaskSpec& spec);

/// The tables and pages. `show_node`: with the column of the device (fleet).
[[nodiscard]] std::string render_tasks(const std::vector<TaskView>& tasks, const Screen& screen,
                                       bool show_node, UnixMilliseconds now);
[[nodiscard]] std::string render_task(const TaskView& view, UnixMilliseconds now,
                                      std::string_view verbs = kLocalVerbs);
/// The questions of tasks that wait for a choice, each with its answers and how to give one.
[[nodiscard]] std::string render_questions(const std::vector<TaskView>& tasks, UnixMilliseconds now,
                                           std::string_view verbs = kLocalVerbs);
/// The last lines of a stream below its title; `total`: its bytes in all. Empty for no bytes.
[[nodiscard]] std::string render_stream(const std::string& title, const std::string& bytes,
                                        std::int64_t total, std::string_view verbs = kLocalVerbs);
[[nodiscard]] std::string render_runs(const std::vector<RunView>& runs, const Screen& screen,
                                      UnixMilliseconds now);

}  // namespace agenttask::console
