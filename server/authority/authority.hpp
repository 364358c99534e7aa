#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/net/certificate.hpp"

namespace agenttask::server {

/// A certificate of the company's own for the server, in place of one that we issue.
struct OwnServerCertificate {
  std::filesystem::path certificate;  ///< PEM: the server's, then intermediates
  std::filesystem::path key;          ///< PEM, readable by the service only
  std::filesystem::path authority;    ///< PEM: the one that devices and operators shall trust for this server
};

struct AuthoritySettings {
  std::filesystem::path folder;           ///< `<state>/authority`; made by create(), mode 0700
  std::vector<std::string> server_names;  ///< host names and IP addresses under which the server is reached
  DurationMilliseconds server_lifetime = 365LL * 24 * 3600 * 1000;
  DurationMilliseconds device_lifetime = 90LL * 24 * 3600 * 1000;
  std::optional<OwnServerCertificate> own;
};

/// What the TLS side of the server shows.
struct ServerIdentity {
  std::string certificate_pem;  ///< the server's certificate, then intermediates
  std::string key_pem;
  UnixMilliseconds not_after = 0;
};

struct IssuedCertificate {
  std::string certificate_pem;
  std::string fingerprint;  ///< SHA-256, hexadecimal
  std::string public_key_digest;
  UnixMilliseconds not_after = 0;
};

/// The certificate authority of one server: its key, the server's certificate, and those of devices.
///
/// Files in `folder`, all of mode 0600, each replaced atomically: authority.pem and authority.key (ten
/// years), server.pem (key and certificate in one file, so that they always fit). Nothing is kept of devices'
/// certificates: the store knows them. Threads: any. Crash: an authority exists whole or not at all; a
/// server's certificate that was cut off is made again.
class Authority {
 public:
  /// Makes the authority (and no server's certificate yet). `conflict` where there is one: it is never
  /// overwritten.
  [[nodiscard]] static Result<void> create(const std::filesystem::path& folder, const Clock& clock);

  /// Opens it; issues the server's certificate where there is none, where it is due, or where it lacks one of
  /// `server_names`. `not_found`: no authority there (run `agenttask-server init`). `denied`: key files that
  /// others can read.
  [[nodiscard]] static Result<std::unique_ptr<Authority>> open(AuthoritySettings settings,
                                                               const Clock& clock);

  /// What the server shows now: our certificate, or the company's own.
  [[nodiscard]] ServerIdentity server_identity() const;
  /// Renews the server's certificate when no more than half of a life is left. One that is not valid by our
  /// clock is followed by one that covers its time, too: it may be our clock that is wrong, and not those of
  /// the devices. Reads the company's own again when its
  /// files changed. True: there is a new one, and the TLS side must take it.
  [[nodiscard]] Result<bool> renew_if_due();

  /// What devices and operators trust for this server (`GET /v1/authority`): ours, or the company's.
  [[nodiscard]] std::string authority_pem() const;
  /// Its SHA-256 fingerprint, 32 raw bytes: part of each enrolment token.
  [[nodiscard]] std::string authority_fingerprint() const;
  /// Ours: what the TLS side trusts for devices' certificates.
  [[nodiscard]] std::string device_authority_pem() const;

  /// The wall clock, within the authority's own life: what it shows beyond is wrong, or too late, and the
  /// nearer end is as near as one can say. Certificates are issued and judged by it.
  [[nodiscard]] UnixMilliseconds believed_time() const;

  /// A certificate for a device: subject is `node_id`, client authentication only, not before an hour ago
  /// (clocks differ). `invalid`: the request is not one, or its key does not fit.
  [[nodiscard]] Result<IssuedCertificate> issue_device(std::string_view node_id,
                                                       std::string_view request_pem) const;

 private:
  struct Server {
    ServerIdentity identity;
    std::string trusted_pem;
    std::string trusted_fingerprint;
  };

  Authority(AuthoritySettings settings, const Clock& clock, net::Certificate certificate,
            net::PrivateKey key);
  [[nodiscard]] Result<Server> load_own(const OwnServerCertificate& own) const;
  [[nodiscard]] Result<Server> load_or_issue() const;
  [[nodiscard]] bool is_due(const net::Certificate& certificate, UnixMilliseconds now) const;
  [[nodiscard]] Result<Server> issue_server(UnixMilliseconds begin, UnixMilliseconds end) const;
  [[nodiscard]] Server ours(const net::Certificate& certificate, const net::PrivateKey& key) const;

  const AuthoritySettings settings_;
  const Clock& clock_;
  const net::Certificate certificate_;
  const net::PrivateKey key_;
  mutable std::mutex mutex_;
  Server server_;
};

}  // namespace agenttask::server
