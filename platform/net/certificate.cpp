#include "platform/net/certificate.hpp"

#include <ctime>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "platform/base/encoding.hpp"
#include "platform/net/openssl_handles.hpp"

namespace agenttask::net {
namespace {

constexpr std::size_t kFileBytes = 1024 * 1024;
constexpr std::size_t kChainLength = 16;

using NamesHandle = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

std::vector<std::string> alternative_names(X509* certificate, int kind) {
  const NamesHandle names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> found;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != kind) continue;
    const ASN1_STRING* value = kind == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    found.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                       static_cast<std::size_t>(ASN1_STRING_length(value)));
  }
  return found;
}

/// An address in its usual spelling: what a certificate holds are 4 or 16 raw bytes.
std::string address_text(const std::string& bytes) {
  const auto byte = [&](std::size_t i) {
    return static_cast<unsigned>(static_cast<unsigned char>(bytes[i]));
  };
  std::string text;
  if (bytes.size() == 4) {
    for (std::size_t i = 0; i < 4; ++i) text += (i == 0 ? "" : ".") + std::to_string(byte(i));
  } else if (bytes.size() == 16) {
    for (std::size_t i = 0; i < 16; i += 2) {
      char group[8];
      std::snprintf(group, sizeof group, "%s%x", i == 0 ? "" : ":", byte(i) << 8U | byte(i + 1));
      text += group;
    }
  }
  return text;
}

UnixMilliseconds unix_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  const std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return 0;
  return (static_cast<UnixMilliseconds>(days) * 86'400 + seconds) * 1000;
}

Result<Certificate> wrap(X509* parsed) {
  auto body = std::make_shared<Certificate::Body>();
  body->certificate.reset(parsed);
  if (parsed == nullptr) return Error{ErrorCode::invalid, "not a certificate: " + openssl_reason()};
  if (X509_get0_pubkey(parsed) == nullptr) {
    return Error{ErrorCode::invalid, "the certificate's key can't be read: " + openssl_reason()};
  }
  return Certificate(std::move(body));
}

}  // namespace

Result<std::vector<Certificate>> Certificate::list_from_pem(std::string_view pem) {
  if (pem.size() > kFileBytes) return Error{ErrorCode::limit, "certificates of more than 1 MiB"};
  const BioHandle bio = reader(pem);
  std::vector<Certificate> list;
  for (;;) {
    ERR_clear_error();
    X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr);
    const bool at_end = next == nullptr && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (at_end && !list.empty()) break;
    if (at_end) {
      ERR_clear_error();
      return Error{ErrorCode::invalid, "no certificate in PEM (-----BEGIN CERTIFICATE-----) in it"};
    }
    auto certificate = wrap(next);
    if (!certificate) return certificate.error();
    if (list.size() == kChainLength) return Error{ErrorCode::limit, "more than 16 certificates"};
    list.push_back(*std::move(certificate));
  }
  ERR_clear_error();
  return list;
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  auto list = list_from_pem(pem);
  if (!list) return list.error();
  if (list->size() != 1) {
    return Error{ErrorCode::invalid,
                 "exactly one certificate belongs here, not " + std::to_string(list->size())};
  }
  return list->front();
}

Result<Certificate> Certificate::from_der(std::string_view der) {
  if (der.size() > kFileBytes) return Error{ErrorCode::limit, "a certificate of more than 1 MiB"};
  ERR_clear_error();
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  auto certificate = wrap(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (certificate && at != end) return Error{ErrorCode::invalid, "not a certificate: bytes follow it"};
  return certificate;
}

Certificate Certificate::share(x509_st* certificate) {
  X509_up_ref(certificate);
  auto body = std::make_shared<Body>();
  body->certificate.reset(certificate);
  return Certificate(std::move(body));
}

std::string Certificate::to_pem() const {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && PEM_write_bio_X509(bio.get(), body_->certificate.get()) == 1,
       "writing a certificate");
  return contents(bio.get());
}

std::string Certificate::to_der() const {
  unsigned char* der = nullptr;
  const int size = i2d_X509(body_->certificate.get(), &der);
  must(size > 0, "i2d_X509");
  const std::unique_ptr<unsigned char, Free<[](unsigned char* p) { OPENSSL_free(p); }>> owner(der);
  return {reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)};
}

std::string Certificate::fingerprint_bytes() const {
  return sha256(to_der());
}
std::string Certificate::fingerprint() const {
  return hex_encode(fingerprint_bytes());
}

std::string Certificate::common_name() const {
  return common_name_of(X509_get_subject_name(body_->certificate.get()));
}

std::vector<std::string> Certificate::host_names() const {
  return alternative_names(body_->certificate.get(), GEN_DNS);
}

std::vector<std::string> Certificate::addresses() const {
  auto raw = alternative_names(body_->certificate.get(), GEN_IPADD);
  for (auto& address : raw) address = address_text(address);
  return raw;
}

UnixMilliseconds Certificate::not_before() const {
  return unix_time(X509_get0_notBefore(body_->certificate.get()));
}
UnixMilliseconds Certificate::not_after() const {
  return unix_time(X509_get0_notAfter(body_->certificate.get()));
}

std::string Certificate::public_key_digest() const {
  return public_key_digest_of(X509_get_X509_PUBKEY(body_->certificate.get()));
}

bool Certificate::matches(const PrivateKey& key) const {
  return public_key_digest() == key.public_key_digest();
}

bool Certificate::is_authority() const {
  return (X509_get_extension_flags(body_->certificate.get()) & EXFLAG_CA) != 0;
}

bool Certificate::allows(CertificatePurpose purpose) const {
  const std::uint32_t usage = X509_get_extended_key_usage(body_->certificate.get());
  if (usage == UINT32_MAX) return purpose == CertificatePurpose::server;  // there is no such extension
  return (usage & (purpose == CertificatePurpose::server ? XKU_SSL_SERVER : XKU_SSL_CLIENT)) != 0;
}

bool Certificate::covers(std::string_view host) const {
  const std::string name(host);
  X509* certificate = body_->certificate.get();
  return X509_check_ip_asc(certificate, name.c_str(), 0) == 1 ||
         X509_check_host(certificate, name.data(), name.size(), 0, nullptr) == 1;
}

bool Certificate::renewal_due(UnixMilliseconds now) const {
  const UnixMilliseconds begin = not_before();
  return now >= begin + (not_after() - begin) / 2;
}

}  // namespace agenttask::net
