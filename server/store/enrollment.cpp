#include "server/store/enrollment.hpp"

#include <utility>
#include <vector>

#include "server/store/changes.hpp"
#include "server/store/streams.hpp"

namespace agenttask::server {
namespace {

/// All tasks of the node that have not ended.
std::vector<TaskRecord> open_tasks(const ReadStore& store, const NodeRecord& node) {
  std::vector<TaskRecord> open;
  for (const auto& task_id : store.open_tasks(node.id)) {
    if (auto record = store.task(task_id, WithData::no)) open.push_back(std::move(*record));
  }
  return open;
}

}  // namespace

void replace_node(WriteStore& store, NodeRecord& node, UnixMilliseconds now) {
  store.revoke_certificates(node.id, now);
  for (auto& record : open_tasks(store, node)) {
    if (record.offered) {
      end_interrupted(store, record, "the device was replaced before it said how this ended", now);
    }
  }
  node.revoked_at.reset();
  node.quarantined_at.reset();
  node.quarantine_reason.clear();
  node.incarnation.clear();
  node.enrolled_at = now;
  open_epoch(store, node, node.epoch, now, Doubt::nothing_offered);
}

void retire_node(WriteStore& store, NodeRecord& node, UnixMilliseconds now) {
  store.revoke_certificates(node.id, now);
  for (auto& record : open_tasks(store, node)) {
    if (record.offered) {
      end_interrupted(
          store, record,
          "the node was revoked before its device said how this ended: what the device did with it is "
          "not known",
          now);
    } else {
      end_alone(store, record, TaskStatus::cancelled, "",
                "cancelled before it was sent to the device, as the node was revoked", now);
    }
  }
  carry_out_deletions(store, node, now);
  // Nobody fetches them any more, and a task is kept while a directive speaks of it.
  store.remove_directives(node.id);
  node.hold_wanted.reset();
  node.revoked_at = now;
  store.update_node(node);
  store.touch("node:" + node.id);  // cuts its open poll
}

}  // namespace agenttask::server
