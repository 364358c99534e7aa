#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/object_reader.hpp"
#include "server/api/auth.hpp"
#include "server/api/credentials.hpp"
#include "server/api/handlers.hpp"
#include "server/authority/authority.hpp"

// Enrolment tokens and operators. What is secret is in the answer that makes it, and never again.
namespace agenttask::server {
namespace {

using nlohmann::json;

json token_to_json(const EnrollmentTokenRecord& record) {
  json value = {{"id", record.id},
                {"label", record.label},
                {"uses", record.uses},
                {"used", record.used},
                {"labels", record.labels},
                {"createdAt", record.created_at},
                {"createdBy", record.created_by},
                {"expiresAt", record.expires_at}};
  if (!record.replace_node.empty()) value["replace"] = record.replace_node;
  return value;
}

json operator_to_json(const OperatorRecord& record) {
  json value = {{"id", record.id},
                {"label", record.label},
                {"role", to_string(record.role)},
                {"createdAt", record.created_at},
                {"createdBy", record.created_by}};
  if (record.expires_at) value["expiresAt"] = *record.expires_at;
  if (record.revoked_at) value["revokedAt"] = *record.revoked_at;
  return value;
}

Result<Labels> read_labels(ObjectReader& reader) {
  Labels labels;
  const auto* object = reader.object("labels");
  if (object == nullptr) return labels;
  for (const auto& [key, value] : object->items()) {
    if (!value.is_string())
      return Error{ErrorCode::invalid, "a label's value must be a string", "labels." + key};
    if (auto fits = check_label(key, value.get<std::string>()); !fits) return fits.error();
    labels[key] = value.get<std::string>();
  }
  if (labels.size() > limits::kLabels) {
    return Error{ErrorCode::limit, "a node has at most " + std::to_string(limits::kLabels) + " labels",
                 "labels"};
  }
  return labels;
}

Result<EnrollmentTokenRequest> read_token_request(const Call& call) {
  const auto body = body_object(call, true);
  if (!body) return body.error();
  ObjectReader reader(*body, ObjectReader::Unknown::refuse);
  EnrollmentTokenRequest request;
  request.label = reader.text("label", kCredentialLabelBytes).value_or("");
  request.ttl = reader.integer("ttl", kShortestTokenLife, kLongestTokenLife).value_or(kDefaultTokenLife);
  request.uses = reader.integer("uses", 1, kMostUses).value_or(1);
  request.replace_node = reader.text("replace", limits::kNodeNameBytes, 1).value_or("");
  auto labels = read_labels(reader);
  if (!labels) return labels.error();
  request.labels = std::move(*labels);
  if (!request.replace_node.empty() && request.uses != 1) {
    reader.refuse("uses", "must be 1 for a token that replaces a node");
  }
  if (auto error = reader.finish()) return *error;
  return request;
}

}  // namespace

Outcome add_enrollment_token(Call& call) {
  auto request = read_token_request(call);
  if (!request) return refuse(request.error());
  if (!request->replace_node.empty()) {
    auto found = find_node(call.store, request->replace_node);
    if (!found.record) return found.refusal;
    request->replace_node = found.record->id;
  }
  if (call.writes == nullptr) return NeedsWrite{};
  const auto made =
      create_enrollment_token(*call.writes, std::move(*request),
                              call.context.authority.authority_fingerprint(), call.caller->id, call.now);
  json value = token_to_json(made.record);
  value["token"] = made.token;
  return json_response(201, value);
}

Outcome list_enrollment_tokens(Call& call) {
  json list = json::array();
  for (const auto& record : call.store.enrollment_tokens()) list.push_back(token_to_json(record));
  return json_response(200, {{"enrollmentTokens", std::move(list)}, {"nextCursor", nullptr}});
}

Outcome remove_enrollment_token(Call& call) {
  const auto record = call.store.enrollment_token_by_id(normalize_uuid(call.path[0]));
  if (!record) return refuse(Code::unknown_token, "no enrolment token has this id");
  if (call.writes == nullptr) return NeedsWrite{};
  call.writes->remove_enrollment_token(record->id);
  return json_response(200, token_to_json(*record));
}

Outcome add_operator(Call& call) {
  const auto body = body_object(call);
  if (!body) return refuse(body.error());
  ObjectReader reader(*body, ObjectReader::Unknown::refuse);
  const auto label = reader.text("label", kCredentialLabelBytes).value_or("");
  reader.require("role");
  const auto role = parse_role(reader.text("role", 16).value_or(""));
  if (!role) reader.refuse("role", "must be viewer, operator or admin");
  const auto expires_at = reader.integer("expiresAt", call.now + 1, limits::kLatestTime);
  if (auto error = reader.finish()) return refuse(*error);
  if (call.store.operators().size() >= kMostOperators) {
    return refuse(Code::limit, "there are " + std::to_string(kMostOperators) + " operators already");
  }
  if (call.writes == nullptr) return NeedsWrite{};
  const auto made = create_operator(*call.writes, label, *role, expires_at, call.caller->id, call.now);
  json value = operator_to_json(made.record);
  value["token"] = made.token;
  return json_response(201, value);
}

Outcome list_operators(Call& call) {
  json list = json::array();
  for (const auto& record : call.store.operators()) list.push_back(operator_to_json(record));
  return json_response(200, {{"operators", std::move(list)}, {"nextCursor", nullptr}});
}

Outcome revoke_operator(Call& call) {
  auto record = call.store.operator_by_id(normalize_uuid(call.path[0]));
  if (!record) return refuse(Code::unknown_operator, "no operator has this id");
  if (!record->revoked_at) {
    if (is_last_admin(call.store, *record, call.now)) {
      return refuse(Code::last_admin,
                    "this is the last admin whose token does not expire: make another one first");
    }
    if (call.writes == nullptr) return NeedsWrite{};
    call.writes->revoke_operator(record->id, call.now);
    record->revoked_at = call.now;
  }
  return json_response(200, operator_to_json(*record));
}

}  // namespace agenttask::server
