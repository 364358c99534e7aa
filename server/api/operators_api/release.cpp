#include <nlohmann/json.hpp>

#include "server/api/handlers.hpp"
#include "server/api/render.hpp"
#include "server/store/lineage.hpp"

namespace agenttask::server {

Outcome release_node(Call& call) {
  const auto body = body_object(call, true);
  if (!body) return refuse(body.error());
  if (!body->empty()) return refuse(Code::invalid, "a release has no fields", body->begin().key());
  auto found = find_node(call.store, call.path[0]);
  if (!found.record) return found.refusal;
  NodeRecord& node = *found.record;
  if (node.revoked_at)
    return refuse(Code::node_revoked, "node " + node.id + " was revoked and cannot be released");
  if (node.quarantined_at) {
    if (call.writes == nullptr) return NeedsWrite{};
    (void)release(*call.writes, node);
    call.writes->after_commit([&logger = call.context.logger, id = node.id] {
      logger.info("an operator released a device from quarantine", {{"node", id}});
    });
  }
  return json_response(200, render_node(call, std::move(node)));
}

}  // namespace agenttask::server
