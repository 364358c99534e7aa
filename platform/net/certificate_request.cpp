#include <openssl/err.h>
#include <openssl/pem.h>

#include "platform/net/openssl_handles.hpp"

namespace agenttask::net {
namespace {

constexpr std::size_t kRequestBytes = 16 * 1024;
constexpr std::string_view kBegin = "-----BEGIN ";

}  // namespace

CertificateRequest CertificateRequest::make(const PrivateKey& key, std::string_view common_name) {
  auto body = std::make_shared<Body>();
  body->request.reset(X509_REQ_new());
  X509_REQ* request = body->request.get();
  must(request != nullptr && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1, "X509_REQ_new");
  // X.520 bounds a common name at 64 characters; a longer host name is told to the server beside the request.
  if (!common_name.empty() && common_name.size() <= 64) {
    set_common_name(X509_REQ_get_subject_name(request), common_name);
  }
  must(X509_REQ_set_pubkey(request, key.body().key.get()) == 1, "X509_REQ_set_pubkey");
  must(X509_REQ_sign(request, key.body().key.get(), EVP_sha256()) > 0, "X509_REQ_sign");
  return CertificateRequest(std::move(body));
}

Result<CertificateRequest> CertificateRequest::from_pem(std::string_view pem) {
  if (pem.size() > kRequestBytes)
    return Error{ErrorCode::limit, "a certificate request may have at most 16 KiB"};
  const std::size_t begin = pem.find(kBegin);
  if (begin == std::string_view::npos || pem.find(kBegin, begin + 1) != std::string_view::npos) {
    return Error{ErrorCode::invalid, "not exactly one certificate request (PKCS#10) in PEM"};
  }
  ERR_clear_error();
  const BioHandle bio = reader(pem);
  auto body = std::make_shared<Body>();
  body->request.reset(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (body->request == nullptr) {
    return Error{ErrorCode::invalid, "not a certificate request (PKCS#10) in PEM: " + openssl_reason()};
  }
  EVP_PKEY* key = X509_REQ_get0_pubkey(body->request.get());
  if (key == nullptr || !is_p256(key)) {
    ERR_clear_error();
    return Error{ErrorCode::invalid, "the key of a certificate request must be P-256"};
  }
  if (X509_REQ_verify(body->request.get(), key) != 1) {
    ERR_clear_error();
    return Error{ErrorCode::invalid, "the signature of the certificate request does not fit its key"};
  }
  return CertificateRequest(std::move(body));
}

std::string CertificateRequest::to_pem() const {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && PEM_write_bio_X509_REQ(bio.get(), body_->request.get()) == 1,
       "writing a certificate request");
  return contents(bio.get());
}

std::string CertificateRequest::common_name() const {
  return common_name_of(X509_REQ_get_subject_name(body_->request.get()));
}

std::string CertificateRequest::public_key_digest() const {
  return public_key_digest_of(X509_REQ_get_X509_PUBKEY(body_->request.get()));
}

}  // namespace agenttask::net
