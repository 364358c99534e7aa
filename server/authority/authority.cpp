#include "server/authority/authority.hpp"

#include <algorithm>
#include <utility>

#include "platform/os/secure_file.hpp"
#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

constexpr UnixMilliseconds kHour = 3600 * 1000;
constexpr UnixMilliseconds kTenYears = 10LL * 365 * 24 * kHour;
constexpr std::size_t kFileBytes = 1024 * 1024;
constexpr std::size_t kCommonNameBytes = 64;

std::filesystem::path certificate_file(const std::filesystem::path& folder) {
  return folder / "authority.pem";
}
std::filesystem::path key_file(const std::filesystem::path& folder) {
  return folder / "authority.key";
}
std::filesystem::path server_file(const std::filesystem::path& folder) {
  return folder / "server.pem";
}

/// A key that others can read is no secret any more: said instead of repaired, as it may have leaked.
Result<std::string> read_secret(const std::filesystem::path& file, std::filesystem::perms forbidden) {
  std::error_code failed;
  const auto status = std::filesystem::status(file, failed);
  if (!failed && std::filesystem::exists(status) &&
      (status.permissions() & forbidden) != std::filesystem::perms::none) {
    return Error{ErrorCode::denied, file.string() +
                                        " can be read by others than the service; if it should stay secret, "
                                        "chmod 600 it (and replace it if it may have been read)"};
  }
  return os::read_file(file, kFileBytes);
}

/// Clocks differ: a certificate is valid from an hour ago, and a short-lived one from a quarter of its life
/// ago, so that it does not begin its second half at once.
UnixMilliseconds begin_of_life(UnixMilliseconds now, DurationMilliseconds lifetime) {
  return now - std::min<UnixMilliseconds>(kHour, lifetime / 4);
}

constexpr auto kReadableByAnyoneElse =
    std::filesystem::perms::group_read | std::filesystem::perms::others_read;

template <class T>
Result<T> about(const std::filesystem::path& file, Result<T> result) {
  if (!result) return with_context(result.error(), file.string());
  return result;
}

}  // namespace

Result<void> Authority::create(const std::filesystem::path& folder, const Clock& clock) {
  if (auto made = os::create_folder(folder, os::Readable::by_owner); !made) return made;
  const auto lock = os::FileLock::acquire(folder / "lock");
  if (!lock) return lock.error();
  std::error_code failed;
  if (std::filesystem::exists(certificate_file(folder), failed)) {
    return Error{ErrorCode::conflict, "there is a certificate authority in " + folder.string() +
                                          " already; it is not overwritten, as every device trusts it"};
  }
  const net::PrivateKey key = net::PrivateKey::generate();
  const UnixMilliseconds now = clock.wall();
  const auto certificate = net::make_authority(key, "AgentTask authority", now - kHour, now + kTenYears);
  if (!certificate) return certificate.error();
  // The certificate comes last: it says that the authority is whole.
  auto kept = commit_at(commit_point::kAuthorityKeyKept, [&] {
    return os::write_file(key_file(folder), key.to_pem(), os::Readable::by_owner);
  });
  if (!kept) return kept;
  return commit_at(commit_point::kAuthorityKept, [&] {
    return os::write_file(certificate_file(folder), certificate->to_pem(), os::Readable::by_owner);
  });
}

Authority::Authority(AuthoritySettings settings, const Clock& clock, net::Certificate certificate,
                     net::PrivateKey key)
    : settings_(std::move(settings)),
      clock_(clock),
      certificate_(std::move(certificate)),
      key_(std::move(key)) {}

Result<std::unique_ptr<Authority>> Authority::open(AuthoritySettings settings, const Clock& clock) {
  const auto& folder = settings.folder;
  auto certificate_pem = os::read_file(certificate_file(folder), kFileBytes);
  if (!certificate_pem && certificate_pem.error().code == ErrorCode::not_found) {
    return Error{ErrorCode::not_found, "there is no certificate authority in " + folder.string() +
                                           "; make one with: agenttask-server init"};
  }
  if (!certificate_pem) return certificate_pem.error();
  auto certificate = about(certificate_file(folder), net::Certificate::from_pem(*certificate_pem));
  if (!certificate) return certificate.error();
  auto key_pem = read_secret(key_file(folder), kReadableByAnyoneElse);
  if (!key_pem) return key_pem.error();
  auto key = about(key_file(folder), net::PrivateKey::from_pem(*key_pem));
  if (!key) return key.error();
  if (!certificate->is_authority() || !certificate->matches(*key)) {
    return Error{ErrorCode::corrupt, "authority.pem and authority.key in " + folder.string() +
                                         " don't belong together; restore both from one backup"};
  }
  std::unique_ptr<Authority> authority(
      new Authority(std::move(settings), clock, *std::move(certificate), *std::move(key)));
  auto server =
      authority->settings_.own ? authority->load_own(*authority->settings_.own) : authority->load_or_issue();
  if (!server) return server.error();
  authority->server_ = *std::move(server);
  return authority;
}

Authority::Server Authority::ours(const net::Certificate& certificate, const net::PrivateKey& key) const {
  return {{certificate.to_pem(), key.to_pem(), certificate.not_after()},
          certificate_.to_pem(),
          certificate_.fingerprint_bytes()};
}

/// The company's own files, checked as a client would.
Result<Authority::Server> Authority::load_own(const OwnServerCertificate& own) const {
  const auto chain_pem = os::read_file(own.certificate, kFileBytes);
  if (!chain_pem) return chain_pem.error();
  const auto chain = about(own.certificate, net::Certificate::list_from_pem(*chain_pem));
  if (!chain) return chain.error();
  const auto key_pem = read_secret(own.key, std::filesystem::perms::others_read);
  if (!key_pem) return key_pem.error();
  const auto key = about(own.key, net::PrivateKey::from_pem(*key_pem));
  if (!key) return key.error();
  const auto trusted_pem = os::read_file(own.authority, kFileBytes);
  if (!trusted_pem) return trusted_pem.error();
  const auto trusted = about(own.authority, net::Certificate::from_pem(*trusted_pem));
  if (!trusted) return trusted.error();
  const net::Certificate& leaf = chain->front();
  if (!leaf.matches(*key)) {
    return Error{ErrorCode::denied, own.key.string() + " is not the key of " + own.certificate.string()};
  }
  const auto valid = net::verify(leaf, std::span(*chain).subspan(1), std::span(&*trusted, 1),
                                 net::CertificatePurpose::server, clock_.wall());
  if (!valid)
    return with_context(valid.error(), own.certificate.string() + ", as a device with " +
                                           own.authority.string() + " would see it");
  std::string whole;
  for (const auto& certificate : *chain) whole += certificate.to_pem();
  return Server{
      {std::move(whole), key->to_pem(), leaf.not_after()}, trusted->to_pem(), trusted->fingerprint_bytes()};
}

UnixMilliseconds Authority::believed_time() const {
  return std::clamp(clock_.wall(), certificate_.not_before(), certificate_.not_after() - kHour);
}

/// Whether another would last longer, and half of a life or less is left of this one.
bool Authority::is_due(const net::Certificate& certificate, UnixMilliseconds now) const {
  const UnixMilliseconds end = certificate.not_after();
  return end < certificate_.not_after() && now >= end - settings_.server_lifetime / 2;
}

/// What is in server.pem if it still serves, else a new one. A damaged file is no loss: it is made again.
Result<Authority::Server> Authority::load_or_issue() const {
  const auto file = server_file(settings_.folder);
  const UnixMilliseconds now = believed_time();
  UnixMilliseconds begin = begin_of_life(now, settings_.server_lifetime);
  UnixMilliseconds end = now + settings_.server_lifetime;
  const auto pem = read_secret(file, kReadableByAnyoneElse);
  if (!pem && pem.error().code != ErrorCode::not_found) return pem.error();
  if (pem) {
    const auto key = net::PrivateKey::from_pem(*pem);
    const auto certificate = net::Certificate::from_pem(*pem);
    const auto& names = settings_.server_names;
    if (key && certificate && certificate->matches(*key) && !is_due(*certificate, now) &&
        net::verify(*certificate, {}, std::span(&certificate_, 1), net::CertificatePurpose::server, now) &&
        std::all_of(names.begin(), names.end(),
                    [&](const auto& name) { return certificate->covers(name); })) {
      return ours(*certificate, *key);
    }
    // Not valid now: either nobody looked for long, or a clock was set, then or since. The next one is for
    // both.
    if (certificate && (certificate->not_after() < now || now < certificate->not_before())) {
      begin = std::min(begin, certificate->not_before());
      end = std::max(end, certificate->not_after());
    }
  }
  return issue_server(begin, end);
}

Result<Authority::Server> Authority::issue_server(UnixMilliseconds begin, UnixMilliseconds end) const {
  const auto& names = settings_.server_names;
  if (names.empty()) {
    return Error{ErrorCode::invalid, "the server's certificate needs at least one host name or IP address",
                 "server-name"};
  }
  const net::PrivateKey key = net::PrivateKey::generate();
  const std::string common_name =
      names.front().size() <= kCommonNameBytes ? names.front() : "agenttask-server";
  const auto certificate = net::issue(certificate_, key_, net::CertificateRequest::make(key, common_name),
                                      {common_name, names, net::CertificatePurpose::server, begin, end});
  if (!certificate) return certificate.error();
  const auto kept = commit_at(commit_point::kServerCertificateKept, [&] {
    return os::write_file(server_file(settings_.folder), key.to_pem() + certificate->to_pem(),
                          os::Readable::by_owner);
  });
  if (!kept) return kept.error();
  return ours(*certificate, key);
}

ServerIdentity Authority::server_identity() const {
  const std::scoped_lock lock(mutex_);
  return server_.identity;
}

Result<bool> Authority::renew_if_due() {
  auto server = settings_.own ? load_own(*settings_.own) : load_or_issue();
  if (!server) return with_context(server.error(), "the server's certificate stays as it is");
  const std::scoped_lock lock(mutex_);
  const bool changed = server->identity.certificate_pem != server_.identity.certificate_pem ||
                       server->identity.key_pem != server_.identity.key_pem ||
                       server->trusted_pem != server_.trusted_pem;
  server_ = *std::move(server);
  return changed;
}

std::string Authority::authority_pem() const {
  const std::scoped_lock lock(mutex_);
  return server_.trusted_pem;
}

std::string Authority::authority_fingerprint() const {
  const std::scoped_lock lock(mutex_);
  return server_.trusted_fingerprint;
}

std::string Authority::device_authority_pem() const {
  return certificate_.to_pem();
}

Result<IssuedCertificate> Authority::issue_device(std::string_view node_id,
                                                  std::string_view request_pem) const {
  const auto request = net::CertificateRequest::from_pem(request_pem);
  if (!request) return Error{ErrorCode::invalid, request.error().message, "request"};
  const UnixMilliseconds now = believed_time();
  const auto certificate = net::issue(certificate_, key_, *request,
                                      {std::string(node_id),
                                       {},
                                       net::CertificatePurpose::client,
                                       begin_of_life(now, settings_.device_lifetime),
                                       now + settings_.device_lifetime});
  if (!certificate) return certificate.error();
  return IssuedCertificate{certificate->to_pem(), certificate->fingerprint(),
                           certificate->public_key_digest(), certificate->not_after()};
}

}  // namespace agenttask::server
