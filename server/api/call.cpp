#include "server/api/call.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::server {

using nlohmann::json;

std::optional<std::string> Call::parameter(std::string_view name) const {
  for (const auto& [key, value] : request.query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string> Call::parameters(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : request.query) {
    if (key == name) values.push_back(value);
  }
  return values;
}

Result<std::int64_t> Call::number(std::string_view name, std::int64_t least, std::int64_t most,
                                  std::int64_t fallback) const {
  const auto text = parameter(name);
  if (!text) return fallback;
  std::int64_t value = 0;
  const auto* end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < least || value > most) {
    return Error{ErrorCode::invalid,
                 std::string(name) + " must be a whole number from " + std::to_string(least) + " to " +
                     std::to_string(most),
                 std::string(name)};
  }
  return value;
}

Result<bool> Call::flag(std::string_view name) const {
  const auto text = parameter(name);
  if (!text || *text == "0" || *text == "false") return false;
  if (*text == "1" || *text == "true") return true;
  return Error{ErrorCode::invalid, std::string(name) + " must be 1, true, 0 or false", std::string(name)};
}

std::string Call::header(std::string_view name) const {
  const auto found = request.headers.find(name);
  return found == request.headers.end() ? std::string() : found->second;
}

std::optional<Wait> Call::wait(std::int64_t milliseconds, std::vector<std::string> keys) const {
  const auto until = request.received + std::chrono::milliseconds(milliseconds);
  if (!request.may_wait || context.clock.monotonic() >= until) return std::nullopt;
  return Wait{std::move(keys), until};
}

Result<json> body_object(const Call& call, bool empty_is_object) {
  if (call.request.body.empty()) {
    if (empty_is_object) return json::object();
    return Error{ErrorCode::invalid, "the body is empty: send a JSON object"};
  }
  auto value = parse_json(call.request.body);
  if (!value) return with_context(value.error(), "the body");
  if (!value->is_object()) return Error{ErrorCode::invalid, "the body must be a JSON object"};
  return value;
}

Result<std::string> idempotency_key(const Call& call) {
  const std::string key = call.header("idempotency-key");
  const bool printable = std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (call.request.headers.contains("idempotency-key") &&
      (key.empty() || key.size() > limits::kIdempotencyKeyBytes || !printable)) {
    return Error{ErrorCode::invalid,
                 "Idempotency-Key must have 1 to " + std::to_string(limits::kIdempotencyKeyBytes) +
                     " printable characters",
                 "Idempotency-Key"};
  }
  return key;
}

std::string caller_name(const Call& call) {
  const OperatorRecord& caller = *call.caller;
  return "operator:" + (caller.label.empty() ? caller.id : caller.label);
}

Response json_response(int status, const json& body) {
  return {status, "application/json", encode_json(body), {}};
}

Found<NodeRecord> find_node(const ReadStore& store, const std::string& text, const std::string& field) {
  if (is_uuid(text)) {
    if (auto node = store.node(normalize_uuid(text))) return {std::move(node), {}};
  }
  auto named = store.nodes_by_name(text);
  if (named.size() == 1) return {std::move(named.front()), {}};
  if (named.empty())
    return {std::nullopt, refuse(Code::unknown_node, "no node has the id or name " + quote(text), field)};
  json candidates = json::array();
  for (std::size_t i = 0; i < std::min<std::size_t>(named.size(), 100); ++i) {
    candidates.push_back({{"id", named[i].id}, {"name", named[i].name}});
  }
  return {std::nullopt, refuse(Code::ambiguous_node,
                               std::to_string(named.size()) + " nodes have the name " + quote(text) +
                                   ": use the id of one of them",
                               field, encode_json({{"candidates", std::move(candidates)}}))};
}

Found<BatchRecord> find_batch(const ReadStore& store, const std::string& id, WithData with_data) {
  if (is_uuid(id)) {
    if (auto record = store.batch(normalize_uuid(id), with_data)) return {std::move(record), {}};
    if (const auto left = store.tombstone(normalize_uuid(id)); left && left->node_id.empty()) {
      return {std::nullopt, refuse(Code::unknown_batch, "the tasks of batch " + id +
                                                            " ended and were purged after their retention")};
    }
  }
  return {std::nullopt, refuse(Code::unknown_batch, "no batch has the id " + quote(id))};
}

Found<TaskRecord> find_task(const ReadStore& store, const std::string& id, WithData with_data) {
  if (is_uuid(id)) {
    if (auto record = store.task(normalize_uuid(id), with_data)) return {std::move(record), {}};
    if (const auto left = store.tombstone(normalize_uuid(id)); left && !left->node_id.empty()) {
      return {std::nullopt,
              refuse(Code::unknown_task, "task " + id + " ended and was purged after its retention")};
    }
  }
  return {std::nullopt, refuse(Code::unknown_task, "no task has the id " + quote(id))};
}

}  // namespace agenttask::server
