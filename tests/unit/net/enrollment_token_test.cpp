#include "platform/net/enrollment_token.hpp"

#include <gtest/gtest.h>

namespace agenttask::net {
namespace {

const EnrollmentToken kToken{std::string(24, '\x01'), std::string(32, '\xFE')};

TEST(EnrollmentTokenTest, ComesBackAsItWas) {
  const auto made = make_enrollment_token(kToken.authority_fingerprint);
  EXPECT_EQ(made.secret.size(), 24U);
  const auto parsed = parse_enrollment_token(encode(made));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, made);
  EXPECT_EQ(encode(made).size(), 76U);
}

TEST(EnrollmentTokenTest, IsDifferentEachTime) {
  EXPECT_NE(make_enrollment_token(kToken.authority_fingerprint).secret,
            make_enrollment_token(kToken.authority_fingerprint).secret);
}

TEST(EnrollmentTokenTest, IsNeverTakenForAnOption) {
  for (int i = 0; i < 2000; ++i) {
    ASSERT_NE(encode(make_enrollment_token(kToken.authority_fingerprint)).front(), '-');
  }
}

TEST(EnrollmentTokenTest, IsReadInOneSpellingOnly) {
  const std::string text = encode(kToken);
  ASSERT_TRUE(parse_enrollment_token(text));
  const std::string fingerprint = text.substr(33);
  for (const std::string& hostile : {
           std::string(),
           std::string("."),
           text.substr(0, 75),
           text + "A",
           " " + text,
           text + "\n",
           text + "=",
           text.substr(0, 32) + ":" + fingerprint,     // another separator
           std::string(32, '+') + "." + fingerprint,   // base64, not base64url
           std::string(31, 'A') + "=." + fingerprint,  // padding inside
           std::string(31, 'A') + std::string(1, '\0') + "." + fingerprint,
           std::string(31, 'A') + "\xC3." + fingerprint,
           text.substr(0, 75) + "_",  // spare bits set: another spelling of the same bytes
           std::string(33, 'A') + "." + fingerprint.substr(1),  // lengths moved
           std::string(100'000, 'A'),
       }) {
    const auto parsed = parse_enrollment_token(hostile);
    ASSERT_FALSE(parsed) << hostile.substr(0, 100);
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid);
  }
}

TEST(EnrollmentTokenTest, NeverShowsTheTokenInAnError) {
  const std::string text = encode(kToken).substr(0, 75);
  EXPECT_EQ(parse_enrollment_token(text).error().message.find(text.substr(0, 20)), std::string::npos);
}

TEST(EnrollmentTokenTest, DigestIsOfTheSecretAlone) {
  EnrollmentToken other = kToken;
  other.authority_fingerprint = std::string(32, '\x02');
  EXPECT_EQ(secret_digest(kToken), secret_digest(other));
  EXPECT_EQ(secret_digest(kToken).size(), 64U);
}

}  // namespace
}  // namespace agenttask::net
