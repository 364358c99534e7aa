#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"
#include "server/store/tasks.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

struct PreparedTask final : Prepared {
  TaskSpec spec;
  std::string digest;
};

/// Read once, and not while everybody waits for the writer; anew where its name means another node by then.
Result<std::shared_ptr<const PreparedTask>> read_request(const Call& call, const NodeRecord& node) {
  auto prepared = std::dynamic_pointer_cast<const PreparedTask>(call.request.prepared);
  if (prepared && prepared->spec.node_id == node.id) return prepared;
  const auto body = body_object(call);
  if (!body) return body.error();
  auto spec = parse_task_request(*body);
  if (!spec) return spec.error();
  if (!spec->node_id.empty() && spec->node_id != node.id && spec->node_id != node.name) {
    return Error{ErrorCode::invalid, "nodeId names another node than the path", "nodeId"};
  }
  spec->node_id = node.id;
  auto read = std::make_shared<PreparedTask>();
  read->spec = std::move(*spec);
  read->digest = request_digest(read->spec);
  return read;
}

Response conflict(const std::string& id) {
  return refuse(Code::conflict, "task " + id + " exists and was made by another request: use another id",
                "id");
}

/// The task that the request made before, or why it can't be: empty where the id is free.
std::optional<Response> made_before(const Call& call, const std::string& id, const TaskSpec& request) {
  if (auto record = call.store.task(id, WithData::yes)) {
    if (record->task.spec.node_id != request.node_id || !same_request(*record, request)) return conflict(id);
    return json_response(200, render_task(call, std::move(*record)));
  }
  const auto tombstone = call.store.tombstone(id);
  if (!tombstone) return std::nullopt;
  if (tombstone->digest != request_digest(request)) return conflict(id);
  // It ended and was purged: what is left of it is what there is to say. It does not run again.
  return Response{200, "application/json", tombstone->summary, {}};
}

}  // namespace

Outcome add_task(Call& call) {
  auto found = find_node(call.store, call.path[0]);
  if (!found.record) return found.refusal;
  auto key = idempotency_key(call);
  if (!key) return refuse(key.error());
  const auto prepared = read_request(call, *found.record);
  if (!prepared) return refuse(prepared.error());
  TaskSpec spec = (*prepared)->spec;
  const std::string& digest = (*prepared)->digest;
  const std::string key_digest = digest + ":" + spec.id;
  bool key_known = false;
  if (!key->empty()) {
    if (const auto used = call.store.idempotency(call.caller->id, *key)) {
      if (used->digest != key_digest) {
        return refuse(Code::idempotency_conflict, "this Idempotency-Key was used for another request",
                      "Idempotency-Key");
      }
      key_known = true;
      spec.id = used->task_id;
    }
  }
  std::optional<Response> before;
  if (!spec.id.empty()) before = made_before(call, spec.id, spec);
  if (before && (before->status != 200 || key->empty() || key_known)) return *before;
  if (!before && found.record->revoked_at) {
    return refuse(Code::node_revoked, "node " + found.record->id + " was revoked and takes no tasks");
  }
  if (call.writes == nullptr) return NeedsWrite{*prepared};
  if (spec.id.empty()) spec.id = make_uuid(call.now);
  if (!key->empty() && !key_known) {
    call.writes->insert_idempotency({call.caller->id, *key, key_digest, spec.id, call.now});
  }
  if (before) return *before;
  const std::string id = spec.id;
  auto record = create_task(*call.writes, std::move(spec), digest, call.caller->id, call.now);
  Response response = json_response(201, render_task(call, std::move(record)));
  response.headers.emplace_back("Location", "/v1/tasks/" + id);
  return response;
}

}  // namespace agenttask::server
