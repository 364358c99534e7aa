#pragma once
#include <filesystem>
#include <string>

#include "platform/base/error.hpp"
#include "platform/net/http_client.hpp"

namespace agenttask::console {

/// Where an operator's server is, whom to believe, and who we are to it.
struct Profile {
  std::string server;         ///< `https://host:port`
  std::string token;          ///< the operator's bearer token
  std::string authority_pem;  ///< empty: the system's authorities, as somebody asked for
};

/// The profiles of this user: one file of mode 0600 in the user's configuration folder.
class ProfileFile {
 public:
  /// $XDG_CONFIG_HOME/agenttask/fleet.json, or ~/.config/agenttask/fleet.json. `invalid` when neither is
  /// known.
  static Result<ProfileFile> of_this_user();
  explicit ProfileFile(std::filesystem::path file) : file_(std::move(file)) {}

  /// `not_found` says how to log in; `denied` when others may read or write the file.
  [[nodiscard]] Result<Profile> load(const std::string& name) const;
  [[nodiscard]] Result<void> keep(const std::string& name, const Profile& profile) const;
  [[nodiscard]] const std::filesystem::path& path() const { return file_; }

 private:
  std::filesystem::path file_;
};

/// AGENTTASK_SERVER, AGENTTASK_TOKEN and AGENTTASK_CA (a file, or `system`) where the first is set; the
/// profile of that name otherwise.
[[nodiscard]] Result<Profile> find_profile(const std::string& name);

/// How to reach the server of a profile. The proxy comes from HTTPS_PROXY and NO_PROXY, as with other tools.
[[nodiscard]] net::HttpClientSettings client_settings(const Profile& profile);

/// Whether `name` can name a profile: letters, digits, dot, dash and underscore.
[[nodiscard]] Result<void> check_profile_name(const std::string& name);

}  // namespace agenttask::console
