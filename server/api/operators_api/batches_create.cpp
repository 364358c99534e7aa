#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_request.hpp"
#include "server/api/credentials.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"
#include "server/store/batches.hpp"

// One task for many devices.
namespace agenttask::server {
namespace {

using nlohmann::json;

/// Which devices are asked for: one of the three.
struct Target {
  std::vector<std::string> nodes;  ///< ids and names as they were given
  Labels labels;
  bool all = false;
  std::string kept;  ///< JSON text that the batch keeps
};

struct BatchRequest {
  TaskSpec spec;
  Target target;
  std::string digest;
  bool dry_run = false;
};

/// What was read on a reader: a fleet's worth of nodes is not looked up while everybody waits for the writer.
/// The targets are those of that moment.
struct PreparedBatch final : Prepared {
  explicit PreparedBatch(BatchRequest asked) : request(std::move(asked)) {}
  BatchRequest request;
  std::string id;                  ///< of the batch that this request makes, should it make one
  std::vector<std::string> nodes;  ///< ids, in order
};

Target read_target(ObjectReader& outer) {
  Target target;
  outer.require("target");
  const json* object = outer.object("target");
  if (object == nullptr) return target;
  ObjectReader reader(*object, ObjectReader::Unknown::refuse, "target");
  // The body is bounded, and so is what fits into it.
  target.nodes = reader.texts("nodes", limits::kBodyBytes, limits::kNodeNameBytes, 1)
                     .value_or(std::vector<std::string>());
  if (reader.has("nodes") && target.nodes.empty()) reader.refuse("nodes", "must name at least one node");
  if (const json* labels = reader.object("labels")) {
    if (labels->empty())
      reader.refuse("labels", "must have at least one label; for every node give all: true");
    if (labels->size() > limits::kLabels) {
      reader.refuse("labels", "has more than " + std::to_string(limits::kLabels) + " labels",
                    ErrorCode::limit);
    }
    for (const auto& [key, value] : labels->items()) {
      if (!value.is_string()) {
        reader.refuse("labels." + key, "must be a string");
      } else if (auto fits = check_label(key, value.get<std::string>()); !fits) {
        reader.refuse(Error{fits.error().code, fits.error().message, "target." + fits.error().field});
      } else {
        target.labels[key] = value.get<std::string>();
      }
    }
  }
  target.all = reader.boolean("all").value_or(false);
  if (reader.has("all") && !target.all) reader.refuse("all", "must be true, or left out");
  if (object->size() > 1) reader.refuse(object->rbegin().key(), "goes alone: give nodes, labels or all");
  if (object->empty()) outer.refuse("target", "must have nodes, labels or all");
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  target.kept = encode_json(target.nodes.empty() ? *object : json{{"nodes", target.nodes.size()}});
  return target;
}

Result<BatchRequest> read_request(const Call& call) {
  auto body = body_object(call);
  if (!body) return body.error();
  BatchRequest request;
  ObjectReader reader(*body, ObjectReader::Unknown::ignore);
  request.target = read_target(reader);
  request.dry_run = reader.boolean("dryRun").value_or(false);
  if (reader.has("nodeId"))
    reader.refuse("nodeId", "has no place here: the target says for which nodes it is");
  if (auto error = reader.finish()) return *error;
  const json target = (*body)["target"];
  body->erase("target");
  body->erase("dryRun");
  auto spec = parse_task_request(*body);
  if (!spec) return spec.error();
  request.spec = std::move(*spec);
  request.digest = hex_encode(sha256(request_digest(request.spec) + encode_json(target)));
  return request;
}

/// The nodes of a target; `refusal` where one that was named can't be one.
struct Resolved {
  std::vector<std::string> ids;
  std::optional<Response> refusal;
};

Resolved resolve(const ReadStore& store, const Target& target) {
  if (target.nodes.empty()) return {store.nodes_with(target.labels), {}};
  Resolved resolved;
  resolved.ids.reserve(target.nodes.size());
  for (std::size_t i = 0; i < target.nodes.size(); ++i) {
    const std::string field = "target.nodes[" + std::to_string(i) + "]";
    auto found = find_node(store, target.nodes[i], field);
    if (!found.record) return {{}, std::move(found.refusal)};
    if (found.record->revoked_at) {
      return {
          {},
          refuse(Code::node_revoked, "node " + found.record->id + " was revoked and takes no tasks", field)};
    }
    resolved.ids.push_back(std::move(found.record->id));
  }
  // A node that was named twice gets one task.
  std::sort(resolved.ids.begin(), resolved.ids.end());
  resolved.ids.erase(std::unique(resolved.ids.begin(), resolved.ids.end()), resolved.ids.end());
  return resolved;
}

/// A page of the nodes that would be targets, newest first as in the list of nodes.
Response list_targets(const Call& call, const std::vector<std::string>& ids) {
  const auto limit = call.number("limit", 1, limits::kPageMost, limits::kPageDefault);
  if (!limit) return refuse(limit.error());
  auto end = ids.end();
  if (const auto cursor = call.parameter("cursor")) end = std::lower_bound(ids.begin(), ids.end(), *cursor);
  json nodes = json::array();
  for (; end != ids.begin() && nodes.size() < static_cast<std::size_t>(*limit);) {
    --end;
    if (auto node = call.store.node(*end)) nodes.push_back(render_node(call, std::move(*node)));
  }
  const json next = end == ids.begin() ? json(nullptr) : json(*end);
  return json_response(
      200, {{"dryRun", true}, {"targets", ids.size()}, {"nodes", std::move(nodes)}, {"nextCursor", next}});
}

/// Once all its tasks are there; the promise to make them is on disk before.
Outcome answer(const Call& call, const BatchRecord& batch, int status) {
  if (batch.made < batch.targets) {
    if (auto parked = call.wait(limits::kWaitMost, {"batch:" + batch.id, "operator:" + call.caller->id})) {
      return *parked;
    }
  }
  Response response = json_response(status, batch_to_json(batch, Detail::summary));
  response.headers.emplace_back("Location", "/v1/batches/" + batch.id);
  return response;
}

/// The batch that the same request made before, or why it can't be: empty where the id is free.
std::optional<Outcome> made_before(const Call& call, const std::string& id, const std::string& digest) {
  const auto conflict = [&] {
    return refuse(Code::conflict, "batch " + id + " exists and was made by another request: use another id",
                  "id");
  };
  if (const auto batch = call.store.batch(id, WithData::no)) {
    return batch->digest == digest ? answer(call, *batch, 200) : Outcome(conflict());
  }
  const auto tombstone = call.store.tombstone(id);
  if (!tombstone) return std::nullopt;
  if (tombstone->digest != digest) return conflict();
  // Its tasks ended and were purged: what is left of it is what there is to say. They don't run again.
  return Response{200, "application/json", tombstone->summary, {}};
}

/// What the writer needs; or a refusal.
std::variant<std::shared_ptr<const PreparedBatch>, Response> prepare(const Call& call, BatchRequest request) {
  auto resolved = resolve(call.store, request.target);
  if (resolved.refusal) return std::move(*resolved.refusal);
  if (resolved.ids.empty() && !request.dry_run) {
    return refuse(Code::no_targets,
                  request.target.all ? "the server has no node yet" : "no node has these labels",
                  request.target.all ? "target.all" : "target.labels");
  }
  auto prepared = std::make_shared<PreparedBatch>(std::move(request));
  const std::string& asked = prepared->request.spec.id;
  prepared->id = asked.empty() ? make_uuid(call.now) : asked;
  prepared->nodes = std::move(resolved.ids);
  return prepared;
}

BatchRecord store_batch(Call& call, const PreparedBatch& prepared, std::string id) {
  BatchRecord record;
  record.id = std::move(id);
  record.spec = prepared.request.spec;
  record.spec.id.clear();
  record.target = prepared.request.target.kept;
  record.digest = prepared.request.digest;
  record.created_by = call.caller->id;
  record = create_batch(*call.writes, std::move(record), prepared.nodes, call.now);
  if (is_carried_on(record)) call.writes->after_commit(call.context.carry_batches_on);
  call.writes->after_commit([&logger = call.context.logger, id = record.id, type = record.spec.type,
                             targets = record.targets, by = caller_name(call)] {
    logger.info("a task for many devices was accepted",
                {{"batch", id}, {"type", type}, {"targets", targets}, {"by", by}});
  });
  return record;
}

/// What is known of an `Idempotency-Key`.
struct KeyUse {
  std::string id;  ///< of the batch that it made; empty: it was not used
  std::optional<Response> refusal;
};

KeyUse look_up(const Call& call, const std::string& key, const std::string& digest) {
  if (key.empty()) return {};
  const auto used = call.store.idempotency(call.caller->id, key);
  if (!used) return {};
  if (used->digest == digest) return {used->task_id, {}};
  return {{},
          refuse(Code::idempotency_conflict, "this Idempotency-Key was used for another request",
                 "Idempotency-Key")};
}

bool is_refusal(const Outcome& outcome) {
  const auto* response = std::get_if<Response>(&outcome);
  return response != nullptr && response->status >= 400;
}

}  // namespace

Outcome add_batch(Call& call) {
  auto prepared = std::dynamic_pointer_cast<const PreparedBatch>(call.request.prepared);
  if (prepared && call.writes == nullptr) {
    // This very request made it a moment ago, and waited for its tasks.
    if (const auto batch = call.store.batch(prepared->id, WithData::no)) return answer(call, *batch, 202);
  }
  const auto key = idempotency_key(call);
  if (!key) return refuse(key.error());
  auto read = prepared ? prepared->request : read_request(call);
  if (!read) return refuse(read.error());
  if (!read->dry_run) {
    for (const char* name : {"cursor", "limit"}) {
      if (call.parameter(name)) return refuse(Code::invalid, std::string(name) + " goes with dryRun", name);
    }
  }
  const std::string key_digest = read->digest + ":" + read->spec.id;
  const KeyUse use = read->dry_run ? KeyUse{} : look_up(call, *key, key_digest);
  if (use.refusal) return *use.refusal;
  std::string id = use.id.empty() ? read->spec.id : use.id;
  std::optional<Outcome> before;
  if (!id.empty() && !read->dry_run) before = made_before(call, id, read->digest);
  if (before && (is_refusal(*before) || key->empty() || !use.id.empty())) return *before;
  if (!prepared && !before) {
    auto made = prepare(call, std::move(*read));
    if (auto* refusal = std::get_if<Response>(&made)) return std::move(*refusal);
    prepared = std::get<std::shared_ptr<const PreparedBatch>>(std::move(made));
    if (prepared->request.dry_run) return list_targets(call, prepared->nodes);
  }
  if (call.writes == nullptr) return NeedsWrite{prepared};
  if (id.empty()) id = prepared->id;
  if (!key->empty() && use.id.empty()) {
    call.writes->insert_idempotency({call.caller->id, *key, key_digest, id, call.now});
  }
  if (before) return *before;
  return answer(call, store_batch(call, *prepared, id), 202);
}

}  // namespace agenttask::server
