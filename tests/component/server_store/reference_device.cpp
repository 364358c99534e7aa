#include "tests/component/server_store/reference_device.hpp"

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"

namespace agenttask::server::test {

void ReferenceDevice::change(const UpdateDirective& update, std::int64_t sequence) {
  const auto found = inbox.find(update.task_id);
  if (found == inbox.end() || has_ended(found->second.state.status)) {
    report(RefusedReport{sequence, update.task_id, "already-ended", "it has ended"});
    return;
  }
  Entry& entry = found->second;
  const auto changes =
      parse_task_changes(parse_json(update.changes).value(), entry.spec, entry.state.add_time, 0).value();
  entry.spec = apply_changes(entry.spec, changes).value();
  report(ChangedReport{{entry.spec, entry.state}});
}

}  // namespace agenttask::server::test
