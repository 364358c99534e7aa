#include <algorithm>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "server/api/credentials.hpp"
#include "server/api/handlers.hpp"
#include "server/authority/authority.hpp"
#include "server/store/enrollment.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

constexpr std::size_t kPemBytes = 16 * 1024;

struct EnrollRequest {
  net::EnrollmentToken token;
  std::string request;     ///< PKCS#10 in PEM
  std::string key_digest;  ///< of its key
  std::string name;
  std::string version;
  std::string platform;
};

Result<EnrollRequest> read_enroll(const std::string& body) {
  const auto value = parse_json(body);
  if (!value) return value.error();
  ObjectReader reader(*value, ObjectReader::Unknown::ignore);
  EnrollRequest request;
  for (const char* name : {"token", "request", "name"}) reader.require(name);
  const auto token = net::parse_enrollment_token(reader.text("token", 256).value_or(""));
  if (!token) reader.refuse("token", token.error().message);
  request.request = reader.text("request", kPemBytes).value_or("");
  request.name = reader.text("name", limits::kNodeNameBytes).value_or("");
  request.version = reader.text("version", 256).value_or("");
  request.platform = reader.text("platform", 256).value_or("");
  if (auto error = reader.finish()) return *error;
  if (auto fits = check_node_name(request.name); !fits) return fits.error();
  const auto certificate = net::CertificateRequest::from_pem(request.request);
  if (!certificate) return Error{ErrorCode::invalid, "request: " + certificate.error().message, "request"};
  request.token = *token;
  request.key_digest = certificate->public_key_digest();
  return request;
}

Response enrolled(const Call& call, const NodeRecord& node, const std::string& certificate) {
  return json_response(200, {{"nodeId", node.id},
                             {"name", node.name},
                             {"certificate", certificate},
                             {"authority", call.context.authority.authority_pem()}});
}

Response refuse_enrollment(std::string why) {
  return refuse(Code::enrollment_refused, std::move(why));
}

/// `wanted`, or that with a suffix where another node goes by it: a newcomer takes nobody's name.
std::string free_name(const ReadStore& store, const std::string& wanted, std::string_view node_id) {
  const auto is_free = [&](const std::string& name) {
    const auto named = store.nodes_by_name(name);
    return std::all_of(named.begin(), named.end(),
                       [&](const NodeRecord& other) { return other.id == node_id; });
  };
  if (is_free(wanted)) return wanted;
  const auto with = [&](const std::string& suffix) {
    std::size_t length = std::min(wanted.size(), limits::kNodeNameBytes - suffix.size() - 1);
    // Never within a character: what continues one begins with the bits 10.
    while (length < wanted.size() && (static_cast<unsigned char>(wanted[length]) & 0xC0U) == 0x80U) --length;
    return wanted.substr(0, length) + "-" + suffix;
  };
  for (int number = 2; number < 10; ++number) {
    if (auto name = with(std::to_string(number)); is_free(name)) return name;
  }
  for (;;) {
    if (auto name = with(hex_encode(random_bytes(4))); is_free(name)) return name;
  }
}

/// The node that the token makes, or the one whose place the device takes.
NodeRecord enroll_node(Call& call, const EnrollmentTokenRecord& token, const EnrollRequest& request) {
  if (!token.replace_node.empty()) {
    if (auto replaced = call.store.node(token.replace_node)) {
      replaced->name = free_name(call.store, replaced->name, replaced->id);
      replace_node(*call.writes, *replaced, call.now);
      return *replaced;
    }
  }
  NodeRecord node;
  node.id = make_uuid(call.now);
  node.name = free_name(call.store, request.name, node.id);
  node.version = request.version;
  node.platform = request.platform;
  node.labels = token.labels;
  node.enrolled_at = call.now;
  call.writes->insert_node(node);
  return node;
}

void keep_certificate(Call& call, const std::string& node_id, const IssuedCertificate& issued) {
  call.writes->insert_certificate({issued.fingerprint, node_id, call.now, issued.not_after, {}});
}

}  // namespace

Outcome get_authority(Call& call) {
  return Response{200, "application/x-pem-file", call.context.authority.authority_pem(), {}};
}

Outcome enroll(Call& call) {
  const auto request = read_enroll(call.request.body);
  if (!request) return refuse(request.error());
  const auto token = call.store.enrollment_token_by_hash(net::secret_digest(request->token));
  if (!token) return refuse_enrollment("the enrolment token is unknown or was withdrawn: ask for a new one");
  // The same token with the same key: the answer may have been lost on its way.
  if (const auto before = call.store.enrollment(token->id, request->key_digest)) {
    const auto node = call.store.node(before->node_id);
    if (!node || node->revoked_at) return refuse_enrollment("this device was revoked: ask for a new token");
    return enrolled(call, *node, before->certificate_pem);
  }
  if (token->expires_at <= call.now)
    return refuse_enrollment("the enrolment token has expired: ask for a new one");
  if (token->used >= token->uses)
    return refuse_enrollment("the enrolment token is used up: ask for a new one");
  if (call.writes == nullptr) return NeedsWrite{};
  const NodeRecord node = enroll_node(call, *token, *request);
  const auto issued = call.context.authority.issue_device(node.id, request->request);
  if (!issued) return refuse(issued.error());
  keep_certificate(call, node.id, *issued);
  call.writes->insert_enrollment(
      {token->id, request->key_digest, node.id, issued->certificate_pem, call.now});
  call.writes->use_enrollment_token(token->id);
  call.writes->after_commit(
      [&logger = call.context.logger, id = node.id, name = node.name, token_id = token->id] {
        logger.info("a device enrolled", {{"node", id}, {"name", name}, {"token", token_id}});
      });
  return enrolled(call, node, issued->certificate_pem);
}

Outcome renew(Call& call) {
  const auto value = parse_json(call.request.body);
  if (!value) return refuse(value.error());
  ObjectReader reader(*value, ObjectReader::Unknown::ignore);
  reader.require("request");
  const auto pem = reader.text("request", kPemBytes).value_or("");
  if (auto error = reader.finish()) return refuse(*error);
  const auto request = net::CertificateRequest::from_pem(pem);
  if (!request) return refuse(Error{ErrorCode::invalid, "request: " + request.error().message, "request"});
  if (auto refusal = refuse_too_often(call, Presence::Dear::certificate)) return *refusal;
  if (call.writes == nullptr) return NeedsWrite{};
  const auto issued = call.context.authority.issue_device(call.device->id, pem);
  if (!issued) return refuse(issued.error());
  call.context.presence.got(call.device->id, Presence::Dear::certificate);
  keep_certificate(call, call.device->id, *issued);
  return json_response(
      200, {{"certificate", issued->certificate_pem}, {"authority", call.context.authority.authority_pem()}});
}

}  // namespace agenttask::server
