#include "agent/sync/identity.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/ledger/commit_points.hpp"
#include "platform/net/certificate.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kFileBytes = 256 * 1024;

using Fields = std::initializer_list<std::pair<const char*, std::string*>>;

/// The strings of a JSON object; none where there is no file.
Result<bool> read_fields(const std::filesystem::path& file, const Fields& fields) {
  const auto text = os::read_file(file, kFileBytes);
  if (!text && text.error().code == ErrorCode::not_found) return false;
  if (!text) return text.error();
  const auto value = parse_json(*text);
  for (const auto& [name, field] : fields) {
    if (!value || !value->is_object() || !value->contains(name) || !(*value)[name].is_string()) {
      return Error{ErrorCode::corrupt, file.string() + " is damaged (" + name +
                                           "); enrol again with: agenttask enroll URL TOKEN"};
    }
    *field = (*value)[name].get<std::string>();
  }
  return true;
}

}  // namespace

IdentityFolder::IdentityFolder(const std::filesystem::path& folder)
    : identity_file_(folder / "identity.json"), pending_file_(folder / "enrollment.json") {}

Result<std::optional<Identity>> IdentityFolder::identity() const {
  Identity found;
  const auto read = read_fields(identity_file_, {{"serverUrl", &found.server_url},
                                                 {"nodeId", &found.node_id},
                                                 {"name", &found.name},
                                                 {"key", &found.key_pem},
                                                 {"certificate", &found.certificate_pem},
                                                 {"authority", &found.authority_pem},
                                                 {"tokenDigest", &found.token_digest}});
  if (!read) return read.error();
  if (!*read) return std::optional<Identity>();
  const auto key = net::PrivateKey::from_pem(found.key_pem);
  const auto certificate = net::Certificate::from_pem(found.certificate_pem);
  if (!key || !certificate || !certificate->matches(*key)) {
    return Error{
        ErrorCode::corrupt,
        identity_file_.string() +
            " is damaged (key and certificate don't fit); enrol again with: agenttask enroll URL TOKEN"};
  }
  return std::optional(std::move(found));
}

Result<void> IdentityFolder::keep(const Identity& identity) const {
  const nlohmann::json value = {{"serverUrl", identity.server_url},
                                {"nodeId", identity.node_id},
                                {"name", identity.name},
                                {"key", identity.key_pem},
                                {"certificate", identity.certificate_pem},
                                {"authority", identity.authority_pem},
                                {"tokenDigest", identity.token_digest}};
  return commit_at(commit_point::kIdentityKept, [&] {
    return os::write_file(identity_file_, encode_json(value), os::Readable::by_owner);
  });
}

Result<std::optional<PendingEnrollment>> IdentityFolder::pending() const {
  PendingEnrollment found;
  const auto read = read_fields(pending_file_, {{"serverUrl", &found.server_url},
                                                {"token", &found.token},
                                                {"name", &found.name},
                                                {"key", &found.key_pem}});
  if (!read) return read.error();
  if (!*read) return std::optional<PendingEnrollment>();
  return std::optional(std::move(found));
}

Result<void> IdentityFolder::keep(const PendingEnrollment& pending) const {
  const nlohmann::json value = {{"serverUrl", pending.server_url},
                                {"token", pending.token},
                                {"name", pending.name},
                                {"key", pending.key_pem}};
  return commit_at(commit_point::kEnrollmentWished,
                   [&] { return os::write_file(pending_file_, encode_json(value), os::Readable::by_owner); });
}

Result<void> IdentityFolder::forget_identity() const {
  return commit_at(commit_point::kIdentityForgotten, [&] { return os::remove_file(identity_file_); });
}
Result<void> IdentityFolder::forget_pending() const {
  return commit_at(commit_point::kEnrollmentForgotten, [&] { return os::remove_file(pending_file_); });
}

}  // namespace agenttask::agent
