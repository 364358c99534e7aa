#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask::agent {

/// Who this device is to its server.
struct Identity {
  std::string server_url;  ///< `https://host:port`
  std::string node_id;
  std::string name;     ///< as the server knows the device
  std::string key_pem;  ///< never leaves this device
  std::string certificate_pem;
  std::string authority_pem;  ///< the one that is trusted for this server
  std::string token_digest;   ///< of the token that made it: the same enrolment again changes nothing
};

/// The wish to enrol, kept until the server has answered it. With the key, so that a repetition is the same
/// request.
struct PendingEnrollment {
  std::string server_url;
  std::string token;
  std::string name;  ///< empty: what the device calls itself when the server is asked
  std::string key_pem;
};

/// The two files in the state folder that hold these, mode 0600.
///
/// Each is one file and replaced whole, so that key and certificate always belong together, whenever the
/// power goes. Threads: any; two writers of the same thing at once are the caller's to avoid.
class IdentityFolder {
 public:
  explicit IdentityFolder(const std::filesystem::path& folder);

  /// None where the device is not enrolled. `corrupt`: what is there is not an identity, or does not fit
  /// together.
  [[nodiscard]] Result<std::optional<Identity>> identity() const;
  [[nodiscard]] Result<void> keep(const Identity& identity) const;
  [[nodiscard]] Result<std::optional<PendingEnrollment>> pending() const;
  [[nodiscard]] Result<void> keep(const PendingEnrollment& pending) const;
  [[nodiscard]] Result<void> forget_identity() const;
  [[nodiscard]] Result<void> forget_pending() const;

 private:
  std::filesystem::path identity_file_;
  std::filesystem::path pending_file_;
};

}  // namespace agenttask::agent
