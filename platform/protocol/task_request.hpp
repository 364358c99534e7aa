#pragma once
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask {

/// Checks what an operator or a console asks for: the body of addTask. Everything unknown, of a wrong type or
/// out of range is refused, with `field` set (`options.timeout`). `id` and `node_id` may be missing: the
/// caller fills them. `data` of `command` and `service` is checked against what those take. Threads: any.
[[nodiscard]] Result<TaskSpec> parse_task_request(const nlohmann::json& body);

/// Fields of an update that are present change; the others stay. `metadata` is a patch, merged by key.
struct TaskChanges {
  std::optional<std::string> description;
  std::optional<std::vector<std::string>> tags;
  std::optional<std::string> metadata;  ///< JSON text of the patch
  std::optional<TaskOptions> options;   ///< whole, after the patch was laid over the old ones
  std::optional<TaskSchedule> schedule;
};

/// When a task ends that nobody gave an `expiresAt` and that was not started: 30 days after it was added, or
/// after it is due where that is later. Empty: it recurs, and ends by cancel or delete only.
[[nodiscard]] std::optional<UnixMilliseconds> default_expiry(const TaskSchedule& schedule,
                                                             UnixMilliseconds add_time);

/// The body of an update, checked as above. `options` and `schedule` are laid over those of `current` field
/// by field. Where it changes the schedule and names no `expiresAt`, the default expiry moves with it, and
/// lies after `now`; one that somebody wished stays.
[[nodiscard]] Result<TaskChanges> parse_task_changes(const nlohmann::json& body, const TaskSpec& current,
                                                     UnixMilliseconds add_time, UnixMilliseconds now);

/// Applies changes to a spec. `limit` when merged metadata grows too large: nothing has changed then.
[[nodiscard]] Result<TaskSpec> apply_changes(TaskSpec spec, const TaskChanges& changes);

/// SHA-256 over the canonical encoding of a request: the same id with the same digest is the same task.
[[nodiscard]] std::string request_digest(const TaskSpec& spec);

/// `data` of a `command` task, checked by parse_task_request.
struct CommandData {
  std::string cmd;                ///< a shell line, or
  std::vector<std::string> argv;  ///< no shell
  std::string cwd;
  std::vector<std::pair<std::string, std::string>> env;
  std::string stdin_text;
  std::string shell;  ///< sh, bash, powershell, cmd; empty: the system's
  std::string run_as;
};
[[nodiscard]] Result<CommandData> parse_command_data(const std::string& data);

constexpr std::size_t kServiceMethodBytes = 128;

/// `data` of a `service` task, checked by parse_task_request: a call as services get it.
struct ServiceData {
  std::string service;
  std::string method;
  std::string arguments = "{}";  ///< JSON text of an object
};
[[nodiscard]] Result<ServiceData> parse_service_data(const std::string& data);

}  // namespace agenttask
