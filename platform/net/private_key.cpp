#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "platform/base/encoding.hpp"
#include "platform/net/openssl_handles.hpp"

namespace agenttask::net {
namespace {

constexpr std::size_t kKeyBytes = 64 * 1024;

/// Without it OpenSSL would ask at the terminal for the password of an encrypted key.
int no_password(char*, int, int, void*) {
  return -1;
}

}  // namespace

PrivateKey PrivateKey::generate() {
  auto body = std::make_shared<Body>();
  body->key.reset(EVP_EC_gen("P-256"));
  must(body->key != nullptr, "making a P-256 key");
  return PrivateKey(std::move(body));
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  if (pem.size() > kKeyBytes)
    return Error{ErrorCode::invalid, "a private key of more than 64 KiB can't be one"};
  if (pem.find("ENCRYPTED") != std::string_view::npos) {
    return Error{ErrorCode::invalid,
                 "the private key is encrypted: decrypt it (openssl pkey -in KEY -out PLAIN) and protect the "
                 "file instead"};
  }
  ERR_clear_error();
  const BioHandle bio = reader(pem);
  auto body = std::make_shared<Body>();
  body->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (body->key == nullptr) return Error{ErrorCode::invalid, "not a private key in PEM: " + openssl_reason()};
  if (!is_strong(body->key.get())) {
    return Error{
        ErrorCode::invalid,
        "the private key is too weak or of a kind we don't use: take P-256, or RSA of 2048 bits or more"};
  }
  return PrivateKey(std::move(body));
}

std::string PrivateKey::to_pem() const {
  const BioHandle bio(BIO_new(BIO_s_secmem()));
  must(bio != nullptr && PEM_write_bio_PKCS8PrivateKey(bio.get(), body_->key.get(), nullptr, nullptr, 0,
                                                       nullptr, nullptr) == 1,
       "writing a private key");
  return contents(bio.get());
}

std::string PrivateKey::public_key_digest() const {
  X509_PUBKEY* public_key = nullptr;
  must(X509_PUBKEY_set(&public_key, body_->key.get()) == 1, "X509_PUBKEY_set");
  const std::unique_ptr<X509_PUBKEY, Free<X509_PUBKEY_free>> owner(public_key);
  return public_key_digest_of(public_key);
}

}  // namespace agenttask::net
