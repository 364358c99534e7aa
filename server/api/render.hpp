#pragma once
#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "platform/protocol/task_json.hpp"
#include "server/api/call.hpp"

namespace agenttask::server {

/// Makes the JSON of tasks as operators see them: with the reason why a task waits that only the server
/// knows, and with the kept output in a command's result. One for each evaluation: it remembers nodes.
/// Threads: one.
class TaskRenderer {
 public:
  explicit TaskRenderer(const Call& call) : call_(call) {}
  [[nodiscard]] nlohmann::json render(TaskRecord record, Detail detail);

 private:
  void explain_wait(Task& task);

  const Call& call_;
  std::map<std::string, std::optional<NodeRecord>> nodes_;
};

/// One task, full.
[[nodiscard]] nlohmann::json render_task(const Call& call, TaskRecord record);
[[nodiscard]] nlohmann::json render_node(const Call& call, NodeRecord node);

/// 409 `already-ended` with the task.
[[nodiscard]] Response refuse_ended(const Call& call, TaskRecord record);

}  // namespace agenttask::server
