// Who somebody says to be: tokens, addresses, certificates.
#include <array>

#include "platform/base/encoding.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/net/url.hpp"
#include "server/main/listen_address.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/manual_clock.hpp"

namespace agenttask::fuzz {
namespace {

constexpr UnixMilliseconds kNow = test::ManualClock::kStart;

const test::TestAuthority& authority() {
  static const test::TestAuthority one(kNow);
  return one;
}

std::string pem_of(std::string_view der, std::string_view what) {
  const auto text = base64_encode(der);
  std::string pem = "-----BEGIN " + std::string(what) + "-----\n";
  for (std::size_t at = 0; at < text.size(); at += 64) pem += text.substr(at, 64) + "\n";
  return pem + "-----END " + std::string(what) + "-----\n";
}

/// All that we ask a certificate.
void hold_certificate(const net::Certificate& certificate) {
  hold(certificate.fingerprint().size() == 64 && certificate.fingerprint_bytes().size() == 32,
       "a certificate has a fingerprint");
  const auto again = net::Certificate::from_pem(certificate.to_pem());
  hold(again && again->to_der() == certificate.to_der(), "a certificate is written as it is");
  hold(is_utf8(certificate.common_name()), "a name is UTF-8");
  for (const auto& name : certificate.host_names()) (void)certificate.covers(name);
  for (const auto& address : certificate.addresses()) (void)certificate.covers(address);
  (void)certificate.covers("localhost");
  (void)certificate.public_key_digest();
  (void)certificate.is_authority();
  (void)certificate.renewal_due(kNow);
  (void)certificate.matches(authority().key());
  const std::array trusted{authority().certificate()};
  for (const auto purpose : {net::CertificatePurpose::client, net::CertificatePurpose::server}) {
    const bool may = certificate.allows(purpose);
    const auto verified = net::verify(certificate, {}, trusted, purpose, kNow, net::Expired::accepted);
    hold(!verified || certificate.to_der() == trusted.front().to_der(),
         "nobody else's certificate is trusted");
    hold(!verified || may, "a certificate serves what it is for");
  }
}

}  // namespace

void enrollment_token(std::string_view bytes) {
  const auto token = net::parse_enrollment_token(bytes);
  if (!token) {
    hold_refusal(token.error());
    return hold(bytes.find(' ') != std::string_view::npos || bytes.size() < 60 ||
                    token.error().message.find(bytes) == std::string::npos,
                "a refusal does not repeat a token");
  }
  hold(token->secret.size() == 24 && token->authority_fingerprint.size() == 32, "a token has both its parts");
  hold(net::encode(*token) == bytes, "a token has one spelling");
  hold(net::secret_digest(*token).size() == 64, "a secret has a digest");
}

void addresses(std::string_view bytes) {
  if (!is_utf8(bytes)) return;  // of configurations and command lines; they are quoted as they are
  if (const auto url = net::parse_server_url(bytes)) {
    const auto again = net::parse_server_url(url->to_string());
    hold(again && *again == *url, "an address that was taken is taken again as it is", url->to_string());
    hold(!url->host.empty() && url->port != 0, "an address has a host and a port");
    hold(url->to_string().find_first_of(std::string_view(" \t\r\n\0@?#", 8)) == std::string::npos,
         "an address is nothing else");
  } else {
    hold_refusal(url.error());
  }
  const auto proxy = net::check_proxy_url(bytes);
  if (proxy) {
    hold(*proxy == bytes, "a proxy stays as it is");
  } else {
    hold_refusal(proxy.error());
  }
  const auto listen = server::parse_listen(bytes);
  if (!listen) return hold_refusal(listen.error());
  hold(!listen->first.empty() && listen->second >= -1 && listen->second <= 65'535, "a port is one");
}

void certificate_request(std::string_view bytes) {
  // As it comes, and as the bytes inside.
  for (const auto& pem : {std::string(bytes), pem_of(bytes, "CERTIFICATE REQUEST")}) {
    const auto request = net::CertificateRequest::from_pem(pem);
    if (!request) {
      hold_refusal(request.error());
      continue;
    }
    hold(is_utf8(request->common_name()), "a name is UTF-8");
    const auto again = net::CertificateRequest::from_pem(request->to_pem());
    hold(again && again->public_key_digest() == request->public_key_digest(), "a request keeps its key");
    const auto issued = net::issue(authority().certificate(), authority().key(), *request,
                                   {"node", {}, net::CertificatePurpose::client, kNow, kNow + 1000});
    hold(static_cast<bool>(issued), "what was taken gets a certificate");
    hold(issued->common_name() == "node" && issued->host_names().empty() && !issued->is_authority(),
         "only a key is taken from a request");
    hold(!issued->allows(net::CertificatePurpose::server), "a device's certificate is no server's");
    hold(issued->public_key_digest() == request->public_key_digest(),
         "a certificate is for the key that asked");
  }
}

void certificates(std::string_view bytes) {
  if (const auto from_der = net::Certificate::from_der(bytes)) {
    hold_certificate(*from_der);
  } else {
    hold_refusal(from_der.error());
  }
  const auto list = net::Certificate::list_from_pem(bytes);
  if (list) {
    hold(!list->empty(), "a list has a certificate");
    for (const auto& certificate : *list) hold_certificate(certificate);
  } else {
    hold_refusal(list.error());
  }
  const auto key = net::PrivateKey::from_pem(bytes);
  if (!key) return hold_refusal(key.error());
  const auto again = net::PrivateKey::from_pem(key->to_pem());
  hold(again && again->public_key_digest() == key->public_key_digest(), "a key is written as it is");
}

}  // namespace agenttask::fuzz
