#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "platform/net/certificate.hpp"
#include "tests/bench/load/https_connection.hpp"

namespace agenttask::bench {

struct Enrolled {
  std::string node;
  std::string name;
  TlsIdentity identity;
};

/// Makes devices through the server's own enrolment: a key and a request each, one token for all.
class Enrollment {
 public:
  using Done = std::function<void(std::vector<Enrolled>)>;

  Enrollment(EventLoop& loop, const TlsClient& tls, std::uint16_t port, std::string token);
  Enrollment(const Enrollment&) = delete;
  Enrollment& operator=(const Enrollment&) = delete;

  void run(std::size_t count, std::size_t connections, Done done);
  /// Enrolments that failed, by why. They are not tried again.
  [[nodiscard]] const std::map<std::string, int>& problems() const { return problems_; }

 private:
  void next(HttpsConnection& connection);
  void take(const Answer& answer, const net::PrivateKey& key);

  EventLoop& loop_;
  const TlsClient& tls_;
  std::uint16_t port_;
  std::string token_;
  Handshakes handshakes_;
  std::vector<std::unique_ptr<HttpsConnection>> connections_;
  std::vector<Enrolled> enrolled_;
  std::size_t begun_ = 0;
  std::size_t ended_ = 0;
  std::size_t wanted_ = 0;
  std::map<std::string, int> problems_;
  Done done_;
};

}  // namespace agenttask::bench
