#include "server/api/credentials.hpp"

#include <algorithm>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/net/enrollment_token.hpp"

namespace agenttask::server {
namespace {

bool is_printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

std::string token_hash(std::string_view token) {
  return hex_encode(sha256(token));
}

NewOperator create_operator(WriteStore& store, std::string label, Role role,
                            std::optional<UnixMilliseconds> expires_at, std::string created_by,
                            UnixMilliseconds now) {
  NewOperator made;
  made.token = "agt_" + base64url_encode(random_bytes(32));
  made.record = {make_uuid(now),        std::move(label), role, token_hash(made.token), now,
                 std::move(created_by), expires_at,       {}};
  store.insert_operator(made.record);
  return made;
}

bool is_valid(const OperatorRecord& record, UnixMilliseconds now) {
  return !record.revoked_at && (!record.expires_at || *record.expires_at > now);
}

bool is_last_admin(const ReadStore& store, const OperatorRecord& record, UnixMilliseconds now) {
  if (record.role != Role::admin) return false;
  const auto operators = store.operators();
  return std::none_of(operators.begin(), operators.end(), [&](const OperatorRecord& other) {
    return other.id != record.id && other.role == Role::admin && is_valid(other, now) && !other.expires_at;
  });
}

NewEnrollmentToken create_enrollment_token(WriteStore& store, EnrollmentTokenRequest request,
                                           std::string_view authority_fingerprint, std::string created_by,
                                           UnixMilliseconds now) {
  const auto token = net::make_enrollment_token(authority_fingerprint);
  NewEnrollmentToken made;
  made.token = net::encode(token);
  EnrollmentTokenRecord& record = made.record;
  record.id = make_uuid(now);
  record.label = std::move(request.label);
  record.secret_hash = net::secret_digest(token);
  record.uses = request.uses;
  record.labels = std::move(request.labels);
  record.replace_node = std::move(request.replace_node);
  record.created_at = now;
  record.created_by = std::move(created_by);
  record.expires_at = now + request.ttl;
  store.insert_enrollment_token(record);
  return made;
}

Result<void> check_label(std::string_view key, std::string_view value) {
  const std::string field = "labels." + std::string(key.substr(0, limits::kLabelKeyBytes));
  if (key.empty() || key.size() > limits::kLabelKeyBytes || key.find('=') != std::string_view::npos ||
      !is_printable(key)) {
    return Error{ErrorCode::invalid,
                 "a label's key has 1 to " + std::to_string(limits::kLabelKeyBytes) +
                     " bytes, without = and control characters",
                 field};
  }
  if (value.size() > limits::kLabelValueBytes || !is_printable(value)) {
    return Error{ErrorCode::invalid,
                 "a label's value has at most " + std::to_string(limits::kLabelValueBytes) +
                     " bytes, without control characters",
                 field};
  }
  return {};
}

Result<void> check_node_name(std::string_view name) {
  if (name.empty() || name.size() > limits::kNodeNameBytes || !is_printable(name) || is_uuid(name)) {
    return Error{ErrorCode::invalid,
                 "name must have 1 to " + std::to_string(limits::kNodeNameBytes) +
                     " bytes, without control characters, and not look like an id",
                 "name"};
  }
  return {};
}

}  // namespace agenttask::server
