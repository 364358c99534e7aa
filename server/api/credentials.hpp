#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "server/store/store.hpp"

/// Making and checking what somebody shows to be let in: operators' tokens and enrolment tokens. The API and
/// the administration verbs of the program make them alike. Failures of the storage are the caller's to
/// check.
namespace agenttask::server {

constexpr std::size_t kCredentialLabelBytes = 200;
constexpr std::size_t kMostOperators = 10'000;
constexpr std::int64_t kMostUses = 1'000'000;
constexpr DurationMilliseconds kDefaultTokenLife = limits::kDay;
constexpr DurationMilliseconds kLongestTokenLife = 366 * limits::kDay;
constexpr DurationMilliseconds kShortestTokenLife = 1000;

/// What is stored of an operator's token: SHA-256, hexadecimal. The token is random, so a plain hash
/// suffices.
[[nodiscard]] std::string token_hash(std::string_view token);

struct NewOperator {
  OperatorRecord record;
  std::string token;  ///< `agt_` and 32 random bytes in base64url; shown once
};
[[nodiscard]] NewOperator create_operator(WriteStore& store, std::string label, Role role,
                                          std::optional<UnixMilliseconds> expires_at, std::string created_by,
                                          UnixMilliseconds now);

/// Whether this operator may still call: neither revoked nor expired.
[[nodiscard]] bool is_valid(const OperatorRecord& record, UnixMilliseconds now);
/// Whether nobody could administrate for long without this one.
[[nodiscard]] bool is_last_admin(const ReadStore& store, const OperatorRecord& record, UnixMilliseconds now);

struct EnrollmentTokenRequest {
  std::string label;
  DurationMilliseconds ttl = kDefaultTokenLife;
  std::int64_t uses = 1;
  Labels labels;
  std::string replace_node;  ///< id
};
struct NewEnrollmentToken {
  EnrollmentTokenRecord record;
  std::string token;  ///< `SECRET.FINGERPRINT`; shown once
};
/// `authority_fingerprint`: 32 raw bytes, of Authority::authority_fingerprint.
[[nodiscard]] NewEnrollmentToken create_enrollment_token(WriteStore& store, EnrollmentTokenRequest request,
                                                         std::string_view authority_fingerprint,
                                                         std::string created_by, UnixMilliseconds now);

/// A label of a node: `key` and `value` within the limits, without control characters. `invalid` names the
/// field.
[[nodiscard]] Result<void> check_label(std::string_view key, std::string_view value);
/// A node's name: 1 to kNodeNameBytes bytes, no control characters, and not an id.
[[nodiscard]] Result<void> check_node_name(std::string_view name);

}  // namespace agenttask::server
