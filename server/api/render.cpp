#include "server/api/render.hpp"

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"

namespace agenttask::server {

using nlohmann::json;

namespace {

/// What the device says of its ledger, while it can't use it.
std::optional<json> ledger_problem(const NodeRecord& node) {
  if (node.ledger_problem.empty()) return std::nullopt;
  auto said = parse_json(node.ledger_problem);
  return said && said->is_object() ? std::optional(*std::move(said)) : std::nullopt;
}

}  // namespace

void TaskRenderer::explain_wait(Task& task) {
  TaskState& state = task.state;
  if (state.status != TaskStatus::pending && state.status != TaskStatus::sent) return;
  const auto [found, fresh] = nodes_.try_emplace(task.spec.node_id);
  if (fresh) found->second = call_.store.node(task.spec.node_id);
  if (!found->second) return;
  NodeRecord& node = *found->second;
  const auto wait = [&](std::string_view why, std::string detail) {
    state.reason = why;
    state.detail = std::move(detail);
  };
  if (node.quarantined_at && !node.revoked_at)
    return wait(reason::kQuarantined, "the device is in quarantine: " + node.quarantine_reason);
  const bool online = call_.context.presence.online(node.id);
  if (const auto problem = ledger_problem(node);
      problem && !node.revoked_at && (online || state.status == TaskStatus::sent))
    return wait(reason::kLedgerUnwritable, problem->value("detail", ""));
  if (state.status != TaskStatus::pending) return;
  if (node.revoked_at) return wait(reason::kDeviceOffline, "the device was revoked and cannot connect");
  if (!online) {
    return wait(reason::kDeviceOffline, "the device is not connected; the task goes out when it comes");
  }
  if (node.hold_reported) return wait(reason::kHeld, "the device is on hold: it starts nothing new");
  if (task.spec.schedule.scheduled_for.value_or(0) > call_.now)
    return wait(reason::kNotDue, "it is not due yet");
}

json TaskRenderer::render(TaskRecord record, Detail detail) {
  explain_wait(record.task);
  json value = task_to_json(record.task, detail);
  if (!record.batch_id.empty()) value["batchId"] = record.batch_id;
  if (!has_ended(record.task.state.status)) {
    json asked = json::array();
    for (const auto kind : call_.store.requests_about(record.task.spec.id)) asked.push_back(to_string(kind));
    if (!asked.empty()) value["requested"] = std::move(asked);
  }
  const auto result = value.find("result");
  if (record.task.spec.type == "command" && result != value.end() && result->is_object() &&
      result->contains("data") && (*result)["data"].is_object()) {
    const TaskState& state = record.task.state;
    // While the next attempt runs, the result is that of the one before.
    const auto run = state.run_count - (state.status == TaskStatus::running ? 1 : 0);
    add_output(*result, call_.store.output(record.task.spec.id, run));
  }
  return value;
}

json render_task(const Call& call, TaskRecord record) {
  return TaskRenderer(call).render(std::move(record), Detail::full);
}

json render_node(const Call& call, NodeRecord node) {
  call.context.presence.fill(node);
  json value = {
      {"id", node.id},
      {"name", node.name},
      {"presence", call.context.presence.online(node.id) && !node.revoked_at ? "online" : "offline"},
      {"version", node.version},
      {"platform", node.platform},
      {"labels", node.labels},
      {"hold", node.hold_reported},
      {"enrolledAt", node.enrolled_at}};
  if (const auto said = parse_json(node.workers); !node.workers.empty() && said) {
    value["workers"] = (*said)["types"];
    value["services"] = (*said)["services"];
    value["workerProblems"] = (*said)["problems"];
  }
  if (node.last_seen) value["lastSeen"] = *node.last_seen;
  if (node.clock_offset) value["clockOffset"] = *node.clock_offset;
  if (node.hold_wanted) value["holdRequested"] = *node.hold_wanted;
  if (node.revoked_at) value["revokedAt"] = *node.revoked_at;
  if (auto problem = ledger_problem(node); problem && !node.revoked_at) value["ledger"] = *std::move(problem);
  if (node.quarantined_at) {
    value["quarantinedAt"] = *node.quarantined_at;
    value["quarantineReason"] = node.quarantine_reason;
  }
  return value;
}

Response refuse_ended(const Call& call, TaskRecord record) {
  const std::string status(to_string(record.task.state.status));
  const std::string id = record.task.spec.id;
  return refuse(Code::already_ended, "task " + id + " has ended already: " + status, "",
                encode_json({{"task", render_task(call, std::move(record))}}));
}

}  // namespace agenttask::server
