#include "tests/bench/load/enrollment.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace agenttask::bench {

using nlohmann::json;

Enrollment::Enrollment(EventLoop& loop, const TlsClient& tls, std::uint16_t port, std::string token)
    : loop_(loop), tls_(tls), port_(port), token_(std::move(token)) {}

void Enrollment::run(std::size_t count, std::size_t connections, Done done) {
  wanted_ = count;
  done_ = std::move(done);
  enrolled_.reserve(count);
  if (count == 0) return loop_.later([this] { std::exchange(done_, {})({}); });
  for (std::size_t i = 0; i < std::clamp<std::size_t>(connections, 1, count); ++i) {
    connections_.push_back(std::make_unique<HttpsConnection>(loop_, tls_, port_, nullptr, handshakes_));
    next(*connections_.back());
  }
}

void Enrollment::next(HttpsConnection& connection) {
  if (begun_ == wanted_) return;
  const auto number = begun_++;
  const auto key = net::PrivateKey::generate();
  const auto request = net::CertificateRequest::make(key, "device");
  const json body{{"token", token_},
                  {"request", request.to_pem()},
                  {"name", "load-" + std::to_string(number)},
                  {"version", "0.1.0"},
                  {"platform", "linux-x86_64"}};
  connection.send(request_text("POST", "/v1/enroll", {}, body.dump()),
                  [this, key, &connection](const Answer& answer) {
                    take(answer, key);
                    next(connection);
                    if (++ended_ == wanted_) std::exchange(done_, {})(std::move(enrolled_));
                  });
}

void Enrollment::take(const Answer& answer, const net::PrivateKey& key) {
  if (answer.status != 200) {
    ++problems_[answer.status == 0 ? answer.problem : answer.body.substr(0, 200)];
    return;
  }
  const auto read = json::parse(answer.body, nullptr, false);
  if (!read.is_object() || !read.contains("nodeId") || !read.contains("certificate")) {
    ++problems_["the answer has no certificate"];
    return;
  }
  enrolled_.push_back({read["nodeId"].get<std::string>(), read.value("name", std::string()),
                       TlsIdentity(read["certificate"].get<std::string>(), key.to_pem())});
}

}  // namespace agenttask::bench
