#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/api/handlers.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

json message_to_json(const MessageRecord& record) {
  json value = room_message_to_json(record.message);
  if (!record.by.empty()) value["by"] = record.by;
  return value;
}

Result<RoomMessage> read_message_request(const Call& call) {
  const auto body = body_object(call);
  if (!body) return body.error();
  ObjectReader reader(*body, ObjectReader::Unknown::refuse);
  reader.require("roomId");
  reader.require("content");
  RoomMessage message;
  message.room_id = reader.text("roomId", limits::kRoomBytes, 1).value_or("");
  message.world_id = reader.text("worldId", limits::kRoomBytes).value_or("");
  if (const auto* content = reader.object("content")) message.content = encode_json(*content);
  if (message.content.size() > limits::kMessageBytes) {
    reader.refuse("content",
                  "has " + std::to_string(message.content.size()) + " bytes encoded; at most " +
                      std::to_string(limits::kMessageBytes) + " are allowed",
                  ErrorCode::limit);
  }
  if (auto error = reader.finish()) return *error;
  return message;
}

std::string digest_of(const RoomMessage& message) {
  return "message:" + hex_encode(sha256(encode_json({message.room_id, message.world_id, message.content})));
}

/// The message that this Idempotency-Key made before, or why there is none to show.
Response posted_before(const Call& call, const IdempotencyRecord& used, const std::string& digest) {
  if (used.digest != digest) {
    return refuse(Code::idempotency_conflict, "this Idempotency-Key was used for another request",
                  "Idempotency-Key");
  }
  if (const auto record = call.store.message(call.caller->id, used.task_id)) {
    return json_response(200, message_to_json(*record));
  }
  return refuse(Code::idempotency_conflict,
                "the message of this Idempotency-Key was posted, and removed since for its age or number",
                "Idempotency-Key");
}

}  // namespace

Outcome list_messages(Call& call) {
  const auto before = call.number("cursor", 1, INT64_MAX, 0);
  if (!before) return refuse(before.error());
  const auto most = call.number("limit", 1, limits::kPageMost, limits::kPageDefault);
  if (!most) return refuse(most.error());
  const Response nothing = json_response(200, {{"messages", json::array()}, {"nextCursor", nullptr}});
  MessageFilter filter;
  filter.room_id = call.parameter("roomId").value_or("");
  filter.world_id = call.parameter("worldId").value_or("");
  if (const auto task = call.parameter("taskId")) {
    if (!is_uuid(*task)) return nothing;
    filter.task_id = normalize_uuid(*task);
  }
  if (const auto name = call.parameter("node")) {
    auto found = find_node(call.store, *name);
    if (!found.record) return found.refusal.status == 404 ? nothing : found.refusal;
    filter.node_id = found.record->id;
  }
  // Messages may be large: a page ends early then, and the cursor goes on from there.
  const auto limit = static_cast<std::size_t>(*most);
  const auto records = call.store.messages(filter, *before, limit + 1);
  json list = json::array();
  std::size_t bytes = 0;
  json next = nullptr;
  for (const auto& record : records) {
    bytes += record.message.content.size();
    if (list.size() == limit || (bytes > kPageBytes && !list.empty())) {
      next = std::to_string(record.sequence + 1);
      break;
    }
    list.push_back(message_to_json(record));
  }
  return json_response(200, {{"messages", std::move(list)}, {"nextCursor", std::move(next)}});
}

/// On the server only: devices hear of tasks, not of rooms.
Outcome post_message(Call& call) {
  const auto key = idempotency_key(call);
  if (!key) return refuse(key.error());
  auto message = read_message_request(call);
  if (!message) return refuse(message.error());
  const std::string digest = digest_of(*message);
  if (!key->empty()) {
    if (const auto used = call.store.idempotency(call.caller->id, *key))
      return posted_before(call, *used, digest);
  }
  if (call.writes == nullptr) return NeedsWrite{};
  message->id = make_uuid(call.now);
  message->time = call.now;
  MessageRecord record{0, std::move(*message), call.caller->id, caller_name(call)};
  (void)call.writes->insert_message(record);
  call.writes->trim_messages(record.poster, call.context.history.messages);
  if (!key->empty()) {
    call.writes->insert_idempotency({call.caller->id, *key, digest, record.message.id, call.now});
  }
  return json_response(201, message_to_json(record));
}

}  // namespace agenttask::server
