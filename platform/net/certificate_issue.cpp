#include <algorithm>
#include <ctime>

#include <openssl/err.h>

#include "platform/base/error_text.hpp"
#include "platform/base/ids.hpp"
#include "platform/net/openssl_handles.hpp"

namespace agenttask::net {
namespace {

constexpr std::size_t kSerialBytes = 19;  // RFC 5280 allows 20, and a leading bit must stay zero

Result<void> add_extension(X509* certificate, const X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, const_cast<X509*>(issuer), certificate, nullptr, nullptr, 0);
  ERR_clear_error();
  const ExtensionHandle extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Error{ErrorCode::invalid, std::string("cannot write ") + OBJ_nid2ln(kind) +
                                         " into a certificate: " + openssl_reason()};
  }
  return {};
}

/// Whole seconds, as certificates have no finer time.
bool set_time(ASN1_TIME* field, UnixMilliseconds time) {
  return ASN1_TIME_set(field, static_cast<std::time_t>(time / 1000)) != nullptr;
}

Result<CertificateHandle> blank(EVP_PKEY* key, std::string_view common_name, UnixMilliseconds not_before,
                                UnixMilliseconds not_after) {
  if (common_name.empty() || common_name.size() > 64) {
    return Error{ErrorCode::invalid, "a certificate's common name has 1 to 64 bytes"};
  }
  if (not_before < 0 || not_after <= not_before)
    return Error{ErrorCode::invalid, "a certificate must end after it begins"};
  CertificateHandle certificate(X509_new());
  must(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1, "X509_new");
  std::string serial = random_bytes(kSerialBytes);
  serial[0] = static_cast<char>((static_cast<unsigned char>(serial[0]) & 0x7FU) | 0x40U);
  const NumberHandle number(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), kSerialBytes, nullptr));
  must(number != nullptr &&
           BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr,
       "a serial number");
  set_common_name(X509_get_subject_name(certificate.get()), common_name);
  must(set_time(X509_getm_notBefore(certificate.get()), not_before) &&
           set_time(X509_getm_notAfter(certificate.get()), not_after) &&
           X509_set_pubkey(certificate.get(), key) == 1,
       "filling a certificate");
  return certificate;
}

Certificate finish(CertificateHandle certificate, EVP_PKEY* signer) {
  must(X509_sign(certificate.get(), signer, EVP_sha256()) > 0, "X509_sign");
  auto body = std::make_shared<Certificate::Body>();
  body->certificate = std::move(certificate);
  return Certificate(std::move(body));
}

bool is_address(const std::string& name) {
  const std::unique_ptr<ASN1_OCTET_STRING, Free<ASN1_OCTET_STRING_free>> address(a2i_IPADDRESS(name.c_str()));
  ERR_clear_error();
  return address != nullptr;
}

/// Only what can be in a host name goes into the text that OpenSSL parses: a comma would begin another name.
bool is_host_name(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '*';
  };
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), fits);
}

Result<std::string> alternative_names(const std::vector<std::string>& names) {
  std::string value;
  for (const auto& name : names) {
    const bool address = is_address(name);
    if (!address && !is_host_name(name)) {
      return Error{ErrorCode::invalid, "\"" + excerpt(name, 64) + "\" is no host name and no IP address"};
    }
    value += (value.empty() ? "" : ",") + std::string(address ? "IP:" : "DNS:") + name;
  }
  return value;
}

struct Extension {
  int kind;
  std::string value;
};

Result<void> add_all(X509* certificate, const X509* issuer, const std::vector<Extension>& extensions) {
  for (const auto& [kind, value] : extensions) {
    if (auto added = add_extension(certificate, issuer, kind, value); !added) return added;
  }
  return {};
}

}  // namespace

Result<Certificate> make_authority(const PrivateKey& key, std::string_view common_name,
                                   UnixMilliseconds not_before, UnixMilliseconds not_after) {
  EVP_PKEY* own = key.body().key.get();
  auto certificate = blank(own, common_name, not_before, not_after);
  if (!certificate) return certificate.error();
  X509* raw = certificate->get();
  must(X509_set_issuer_name(raw, X509_get_subject_name(raw)) == 1, "X509_set_issuer_name");
  const auto added = add_all(raw, raw,
                             {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                              {NID_key_usage, "critical,keyCertSign,cRLSign"},
                              {NID_subject_key_identifier, "hash"}});
  if (!added) return added.error();
  return finish(*std::move(certificate), own);
}

Result<Certificate> issue(const Certificate& authority, const PrivateKey& authority_key,
                          const CertificateRequest& request, const CertificateContent& content) {
  if (!authority.is_authority() || !authority.matches(authority_key)) {
    return Error{ErrorCode::invalid, "the authority's certificate is not one, or does not fit its key"};
  }
  EVP_PKEY* subject = X509_REQ_get0_pubkey(request.body().request.get());
  auto certificate = blank(subject, content.common_name, std::max(content.not_before, authority.not_before()),
                           std::min(content.not_after, authority.not_after()));
  if (!certificate) return certificate.error();
  X509* raw = certificate->get();
  X509* issuer = authority.body().certificate.get();
  must(X509_set_issuer_name(raw, X509_get_subject_name(issuer)) == 1, "X509_set_issuer_name");
  const bool server = content.purpose == CertificatePurpose::server;
  std::vector<Extension> extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                                       {NID_key_usage, "critical,digitalSignature"},
                                       {NID_ext_key_usage, server ? "serverAuth" : "clientAuth"},
                                       {NID_subject_key_identifier, "hash"},
                                       {NID_authority_key_identifier, "keyid:always"}};
  if (!content.host_names.empty()) {
    auto names = alternative_names(content.host_names);
    if (!names) return names.error();
    extensions.push_back({NID_subject_alt_name, *names});
  }
  if (auto added = add_all(raw, issuer, extensions); !added) return added.error();
  return finish(*std::move(certificate), authority_key.body().key.get());
}

Result<void> verify(const Certificate& certificate, std::span<const Certificate> intermediates,
                    std::span<const Certificate> authorities, CertificatePurpose purpose,
                    UnixMilliseconds now, Expired expired) {
  ERR_clear_error();
  const bool server = purpose == CertificatePurpose::server;
  if (!certificate.allows(purpose)) {
    return Error{ErrorCode::denied, std::string("the certificate may not be used as a ") +
                                        (server ? "server's" : "client's") +
                                        " (its extended key usage lacks it)"};
  }
  const StoreHandle store(X509_STORE_new());
  must(store != nullptr, "X509_STORE_new");
  for (const auto& authority : authorities) {
    must(X509_STORE_add_cert(store.get(), authority.body().certificate.get()) == 1, "X509_STORE_add_cert");
  }
  const std::unique_ptr<STACK_OF(X509), Free<[](STACK_OF(X509) * s) { sk_X509_free(s); }>> others(
      sk_X509_new_null());
  for (const auto& intermediate : intermediates)
    sk_X509_push(others.get(), intermediate.body().certificate.get());
  const StoreContextHandle context(X509_STORE_CTX_new());
  must(context != nullptr && X509_STORE_CTX_init(context.get(), store.get(),
                                                 certificate.body().certificate.get(), others.get()) == 1,
       "X509_STORE_CTX_init");
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(parameters, server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  // One that has expired is judged as of the last second of its life: all else must still hold.
  const UnixMilliseconds at =
      expired == Expired::accepted ? std::min(now, certificate.not_after() - 1000) : now;
  X509_VERIFY_PARAM_set_time(parameters, static_cast<std::time_t>(at / 1000));
  if (X509_verify_cert(context.get()) == 1) return {};
  const int code = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  return Error{ErrorCode::denied,
               std::string("the certificate is not trusted: ") + X509_verify_cert_error_string(code)};
}

}  // namespace agenttask::net
