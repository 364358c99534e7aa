#include "agent/sync/membership.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/sync/enrollment_wish.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/problem.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerTime{30'000};
constexpr milliseconds kLongestSleep = std::chrono::hours(1);  ///< clocks are looked at again after this
constexpr milliseconds kShortestRenewal{1'000};
/// A certificate that is called expired so soon after it was issued says that the server's clock is wrong.
constexpr milliseconds kFresh = std::chrono::hours(1);
constexpr std::string_view kRefusedToken = "enrollment-refused";  ///< the server's last word about a token

/// A string of the answer; empty where there is none.
std::string member(const nlohmann::json& answer, const char* name) {
  const auto found = answer.find(name);
  return found != answer.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Result<nlohmann::json> read_answer(const std::string& text) {
  auto answer = parse_json(text);
  if (!answer || !answer->is_object())
    return Error{ErrorCode::invalid, "the server's answer makes no sense: no JSON object"};
  return answer;
}

/// The certificate that the server made for our key, checked as little as possible and as much as needed.
Result<net::Certificate> issued_certificate(const std::string& pem, const net::PrivateKey& key) {
  auto certificate = net::Certificate::from_pem(pem);
  if (!certificate) return with_context(certificate.error(), "the server's answer makes no sense");
  if (!certificate->matches(key))
    return Error{ErrorCode::invalid, "the server issued a certificate for another key than ours"};
  if (!certificate->allows(net::CertificatePurpose::client) || certificate->common_name().empty()) {
    return Error{ErrorCode::invalid, "the server issued a certificate that does not name us as a device"};
  }
  return certificate;
}

}  // namespace

Membership::Membership(IdentityFolder folder, ServerLink& link, const Clock& clock, Logger& log,
                       StatusBoard& board, const SyncOptions& options, Events events)
    : folder_(std::move(folder)),
      link_(link),
      clock_(clock),
      log_(log),
      board_(board),
      options_(options),
      events_(std::move(events)),
      enrollment_timer_(options.first_retry, options.longest_retry, options.fraction),
      renewal_timer_(options.first_retry, options.longest_retry, options.fraction) {}

Result<void> Membership::enroll(std::string_view url, std::string_view token, std::string_view name) {
  const std::scoped_lock lock(files_);
  const auto wish = keep_enrollment_wish(folder_, url, token, name);
  if (!wish) return wish.error();
  unusable_.reset();
  // At once: who asked may look before the owner has read the file.
  if (*wish) board_.wishes((*wish)->server_url);
  return {};
}

void Membership::cannot_enroll(std::string url, Error why) {
  const std::scoped_lock lock(files_);
  unusable_ = UnusableWish{std::move(url), failure_of(why)};
}

Result<void> Membership::unenroll() {
  const std::scoped_lock lock(files_);
  unusable_.reset();
  if (auto forgotten = folder_.forget_pending(); !forgotten) return forgotten;
  return folder_.forget_identity();
}

void Membership::load() {
  std::unique_lock lock(files_);
  const auto identity = folder_.identity();
  const auto pending = folder_.pending();
  const auto unusable = unusable_;
  lock.unlock();
  if (!identity) board_.trouble(Trouble::identity, failure_of(identity.error()), std::nullopt);
  if (!pending) board_.trouble(Trouble::identity, failure_of(pending.error()), std::nullopt);
  if (identity && pending) board_.fine(Trouble::identity);
  const std::string before = identity_ ? identity_->certificate_pem : "";
  identity_ = identity ? *identity : std::nullopt;
  alone_ = identity && !identity_;
  pending_ = pending ? *pending : std::nullopt;
  link_.abandon(ServerCall::enroll);
  enrolling_ = refused_ = false;
  enrollment_timer_.reset();
  board_.wishes(pending_ ? std::optional(pending_->server_url) : std::nullopt);
  show();
  if (unusable && alone_ && !pending_) show(*unusable);
  if (before == (identity_ ? identity_->certificate_pem : "")) return;
  link_.abandon(ServerCall::renew);
  renewing_ = expired_ = false;
  renewed_.reset();
  renewal_timer_.reset();
  events_.identity(identity_ ? &*identity_ : nullptr, false);
}

/// A machine from an image gets its own name some time after it has started.
std::string Membership::wished_name() const {
  return pending_->name.empty() ? options_.own_name() : pending_->name;
}

void Membership::show() {
  std::optional<UnixMilliseconds> expires;
  if (identity_) {
    if (const auto certificate = net::Certificate::from_pem(identity_->certificate_pem))
      expires = certificate->not_after();
  }
  board_.belongs(identity_  ? identity_->server_url
                 : pending_ ? pending_->server_url
                            : std::string(),
                 identity_ ? identity_->node_id : std::string(),
                 identity_  ? identity_->name
                 : pending_ ? wished_name()
                            : std::string(),
                 expires, pending_.has_value());
}

void Membership::show(const UnusableWish& wish) {
  board_.belongs(wish.url, "", "", std::nullopt, true);
  board_.wishes(wish.url);
  board_.trouble(Trouble::enrollment, wish.failure, std::nullopt);
}

void Membership::retry_now() {
  if (!enrolling_) enrollment_timer_.reset();
}

void Membership::expired() {
  if (std::exchange(expired_, true) || renewing_) return;
  const auto now = clock_.monotonic();
  if (renewed_ && now - *renewed_ < kFresh) {
    renewal_timer_.failed(now, {});
  } else {
    renewal_timer_.at(now);
  }
}

void Membership::renamed(const std::string& name) {
  if (!identity_) return;
  std::unique_lock lock(files_);
  const auto present = folder_.identity();
  if (!present || !*present || (*present)->certificate_pem != identity_->certificate_pem)
    return;  // unenrolled meanwhile
  Identity named = *identity_;
  named.name = name;
  // What can't be kept is told again after the next start.
  if (const auto kept = folder_.keep(named); !kept) {
    log_.warning("cannot keep the name that the server gave to this node",
                 {{"name", name}, {"error", kept.error().message}});
  }
  lock.unlock();
  log_.info("the server gave this node another name", {{"name", name}, {"before", identity_->name}});
  identity_ = std::move(named);
  show();
}

void Membership::step(MonotonicTime now, const std::stop_token& stop) {
  if (pending_ && !enrolling_ && !refused_ && enrollment_timer_.due(now)) start_enrollment(stop);
  if (identity_ && !renewing_ && renewal_timer_.due(now)) {
    if (renewal_due()) {
      start_renewal();
    } else {
      plan_renewal();
    }
  }
}

MonotonicTime Membership::next() const {
  MonotonicTime next = MonotonicTime::max();
  if (pending_ && !enrolling_ && !refused_) next = std::min(next, enrollment_timer_.next());
  if (identity_ && !renewing_) next = std::min(next, renewal_timer_.next());
  return next;
}

void Membership::start_enrollment(const std::stop_token& stop) {
  const auto token = net::parse_enrollment_token(pending_->token);
  const auto server = net::parse_server_url(pending_->server_url);
  const auto key = net::PrivateKey::from_pem(pending_->key_pem);
  if (!token || !server || !key) {
    return enrollment_refused(
        {.code = "corrupt",
         .message = "the stored wish to enrol is damaged; enrol again with: agenttask enroll URL TOKEN",
         .refused = true});
  }
  const auto authority = link_.authority(*server, token->authority_fingerprint, stop);
  if (!authority) {
    CallFailure failure = *failure_of(net::HttpResult(authority.error()), clock_.wall());
    failure.refused = authority.error().failure == net::HttpFailure::tls_untrusted;
    return enrollment_failed(failure);
  }
  const std::string name = wished_name();
  if (!identity_) show();
  const nlohmann::json body = {{"token", pending_->token},
                               {"request", net::CertificateRequest::make(*key, name).to_pem()},
                               {"name", name},
                               {"version", options_.version},
                               {"platform", options_.platform}};
  enrolling_ = true;
  link_.start(ServerCall::enroll, {pending_->server_url, *authority, {}, {}}, encode_json(body), kAnswerTime,
              [this](const net::HttpResult& result) { enrollment_done(result); });
}

Result<Identity> Membership::identity_from(const std::string& text) const {
  const auto answer = read_answer(text);
  if (!answer) return answer.error();
  Identity identity{.server_url = pending_->server_url,
                    .node_id = member(*answer, "nodeId"),
                    .name = member(*answer, "name"),
                    .key_pem = pending_->key_pem,
                    .certificate_pem = member(*answer, "certificate"),
                    .authority_pem = member(*answer, "authority"),
                    .token_digest = net::secret_digest(*net::parse_enrollment_token(pending_->token))};
  const auto key = net::PrivateKey::from_pem(identity.key_pem);
  if (!key) return key.error();
  const auto certificate = issued_certificate(identity.certificate_pem, *key);
  if (!certificate) return certificate.error();
  if (certificate->common_name() != identity.node_id) {
    return Error{ErrorCode::invalid, "the server's answer names another node than its certificate"};
  }
  if (const auto authority = net::Certificate::from_pem(identity.authority_pem); !authority) {
    return with_context(authority.error(), "the authority in the server's answer");
  }
  return identity;
}

/// Keeps the new identity, unless somebody wished for another meanwhile.
Result<void> Membership::become(const Identity& identity) {
  const std::scoped_lock lock(files_);
  const auto wish = folder_.pending();
  if (!wish || !*wish || (*wish)->key_pem != identity.key_pem) return {};
  if (auto kept = folder_.keep(identity); !kept) return kept;
  return folder_.forget_pending();
}

void Membership::enrollment_done(const net::HttpResult& result) {
  enrolling_ = false;
  if (auto failure = failure_of(result, clock_.wall())) {
    if (failure->code != kRefusedToken) return enrollment_failed(*failure);
    failure->message =
        "the server refuses to enrol this device: " + decode_problem(result->status, result->body).detail +
        " (agenttask-server token create), then: agenttask enroll URL TOKEN";
    return enrollment_refused(*failure);
  }
  const auto identity = identity_from(result->body);
  if (!identity) return enrollment_failed(failure_of(identity.error()));
  if (const auto kept = become(*identity); !kept) return enrollment_failed(failure_of(kept.error()));
  log_.info("enrolled",
            {{"server", identity->server_url}, {"node", identity->node_id}, {"name", identity->name}});
  load();
}

void Membership::enrollment_failed(const CallFailure& failure) {
  enrollment_timer_.failed(clock_.monotonic(), failure);
  board_.trouble(Trouble::enrollment, failure, enrollment_timer_.next());
}

void Membership::enrollment_refused(const CallFailure& failure) {
  refused_ = true;
  board_.trouble(Trouble::enrollment, failure, std::nullopt);
}

bool Membership::renewal_due() const {
  if (expired_) return true;
  const auto certificate = net::Certificate::from_pem(identity_->certificate_pem);
  if (!certificate) return false;
  // By the server's clock, as far as it is known: ours may be years off.
  const auto offset = board_.status().clock_offset;
  const UnixMilliseconds now = clock_.wall() - offset.value_or(0);
  // One that was issued while the server's clock was ahead would be renewed in years only.
  return certificate->renewal_due(now) || (offset && now < certificate->not_before());
}

/// Sleeps until half of the certificate's life, an hour at a time as clocks may be set.
void Membership::plan_renewal() {
  if (!identity_) return;
  const auto certificate = net::Certificate::from_pem(identity_->certificate_pem);
  if (!certificate) return;
  const UnixMilliseconds now = clock_.wall() - board_.status().clock_offset.value_or(0);
  const UnixMilliseconds half =
      certificate->not_before() + (certificate->not_after() - certificate->not_before()) / 2;
  const auto wait = std::clamp(milliseconds(half - now), kShortestRenewal, kLongestSleep);
  renewal_timer_.at(clock_.monotonic() + wait);
}

void Membership::start_renewal() {
  const net::PrivateKey key = net::PrivateKey::generate();
  const nlohmann::json body = {{"request", net::CertificateRequest::make(key, identity_->name).to_pem()}};
  renewing_ = true;
  link_.start(
      ServerCall::renew,
      {identity_->server_url, identity_->authority_pem, identity_->certificate_pem, identity_->key_pem},
      encode_json(body), kAnswerTime,
      [this, key_pem = key.to_pem()](const net::HttpResult& result) { renewal_done(result, key_pem); });
}

void Membership::renewal_done(const net::HttpResult& result, const std::string& key_pem) {
  renewing_ = false;
  if (const auto failure = failure_of(result, clock_.wall())) return renewal_failed(*failure);
  const auto answer = read_answer(result->body);
  if (!answer) return renewal_failed(failure_of(answer.error()));
  Identity renewed = *identity_;
  renewed.key_pem = key_pem;
  renewed.certificate_pem = member(*answer, "certificate");
  const auto certificate = issued_certificate(renewed.certificate_pem, *net::PrivateKey::from_pem(key_pem));
  if (!certificate) return renewal_failed(failure_of(certificate.error()));
  if (certificate->common_name() != renewed.node_id) {
    return renewal_failed(
        failure_of(Error{ErrorCode::invalid, "the server renewed another node's certificate"}));
  }
  if (const std::string authority = member(*answer, "authority"); net::Certificate::from_pem(authority)) {
    renewed.authority_pem = authority;
  }
  std::unique_lock lock(files_);
  const auto present = folder_.identity();
  if (!present || !*present || (*present)->certificate_pem != identity_->certificate_pem)
    return;  // unenrolled meanwhile
  if (const auto kept = folder_.keep(renewed); !kept) return renewal_failed(failure_of(kept.error()));
  lock.unlock();
  identity_ = std::move(renewed);
  expired_ = false;
  const auto now = clock_.monotonic();
  if (!renewed_ || now - *renewed_ >= kFresh) renewal_timer_.reset();
  renewed_ = now;
  plan_renewal();
  board_.fine(Trouble::renewal);
  show();
  log_.info("certificate renewed", {{"node", identity_->node_id}, {"expires", certificate->not_after()}});
  events_.identity(&*identity_, true);
}

void Membership::renewal_failed(const CallFailure& failure) {
  renewal_timer_.failed(clock_.monotonic(), failure);
  board_.trouble(Trouble::renewal, failure, renewal_timer_.next());
}

}  // namespace agenttask::agent
