#include "server/store/enrollment.hpp"

#include "server/store/changes.hpp"
#include "server/store/streams.hpp"

namespace agenttask::server {

void replace_node(WriteStore& store, NodeRecord& node, UnixMilliseconds now) {
  store.revoke_certificates(node.id, now);
  for (const auto& [task_id, status] : store.tasks_for_epoch(node.id)) {
    auto record = store.task(task_id, WithData::no);
    if (!record || !record->offered || has_ended(status)) continue;
    record->task.state.cancel_requested_at.reset();
    end_alone(store, *record, TaskStatus::failed, reason::kInterrupted,
              "the device was replaced before it said how this ended", now);
  }
  node.revoked_at.reset();
  node.quarantined_at.reset();
  node.quarantine_reason.clear();
  node.incarnation.clear();
  node.enrolled_at = now;
  open_epoch(store, node, node.epoch);
}

}  // namespace agenttask::server
