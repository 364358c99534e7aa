#pragma once
// Only for the .cpp files of platform/net: OpenSSL's objects with owners.
#include <memory>
#include <string>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "platform/base/error.hpp"
#include "platform/net/certificate.hpp"

namespace agenttask::net {

template <auto function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    function(object);
  }
};

using BioHandle = std::unique_ptr<BIO, Free<BIO_free_all>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using CertificateHandle = std::unique_ptr<X509, Free<X509_free>>;
using RequestHandle = std::unique_ptr<X509_REQ, Free<X509_REQ_free>>;
using NumberHandle = std::unique_ptr<BIGNUM, Free<BN_free>>;
using ExtensionHandle = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using StoreHandle = std::unique_ptr<X509_STORE, Free<X509_STORE_free>>;
using StoreContextHandle = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX_free>>;

struct PrivateKey::Body {
  KeyHandle key;
};
struct CertificateRequest::Body {
  RequestHandle request;
};
struct Certificate::Body {
  CertificateHandle certificate;
};

/// The oldest error that OpenSSL noted on this thread, in its words; the rest is forgotten.
[[nodiscard]] std::string openssl_reason();

/// Ends with std::runtime_error where OpenSSL fails in what only a lack of memory can make fail.
void must(bool succeeded, const char* what);

/// A BIO that reads `text`, which must outlive it.
[[nodiscard]] BioHandle reader(std::string_view text);
[[nodiscard]] std::string contents(BIO* memory);

/// SHA-256 of the public key's SubjectPublicKeyInfo, hexadecimal.
[[nodiscard]] std::string public_key_digest_of(X509_PUBKEY* key);

/// P-256, P-384, P-521, or RSA of 2048 bits and more.
[[nodiscard]] bool is_strong(EVP_PKEY* key);
[[nodiscard]] bool is_p256(EVP_PKEY* key);

/// The subject's last common name in UTF-8; empty where there is none or it holds a zero byte.
[[nodiscard]] std::string common_name_of(const X509_NAME* name);
void set_common_name(X509_NAME* name, std::string_view common_name);

}  // namespace agenttask::net
