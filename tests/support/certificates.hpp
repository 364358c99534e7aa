#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#include "platform/net/certificate.hpp"

namespace agenttask::test {

/// Key and certificate of somebody, in PEM.
struct Credentials {
  std::string certificate;
  std::string key;
};

/// An authority of its own for a test.
class TestAuthority {
 public:
  static constexpr UnixMilliseconds kDay = 24LL * 3600 * 1000;

  explicit TestAuthority(UnixMilliseconds now, std::string name = "test authority")
      : key_(net::PrivateKey::generate()),
        certificate_(net::make_authority(key_, name, now - 400 * kDay, now + 3650 * kDay).value()) {}

  [[nodiscard]] const net::Certificate& certificate() const { return certificate_; }
  [[nodiscard]] const net::PrivateKey& key() const { return key_; }
  [[nodiscard]] std::string pem() const { return certificate_.to_pem(); }

  [[nodiscard]] Credentials issue(const net::CertificateContent& content) const {
    const auto key = net::PrivateKey::generate();
    const auto request = net::CertificateRequest::make(key, content.common_name);
    return {net::issue(certificate_, key_, request, content).value().to_pem(), key.to_pem()};
  }
  [[nodiscard]] Credentials server(UnixMilliseconds now,
                                   std::vector<std::string> names = {"localhost", "127.0.0.1"}) const {
    return issue({"server", std::move(names), net::CertificatePurpose::server, now - kDay, now + kDay});
  }
  [[nodiscard]] Credentials device(UnixMilliseconds now, std::string name = "device") const {
    return issue({std::move(name), {}, net::CertificatePurpose::client, now - kDay, now + kDay});
  }

 private:
  net::PrivateKey key_;
  net::Certificate certificate_;
};

}  // namespace agenttask::test
