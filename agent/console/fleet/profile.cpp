#include "agent/console/fleet/profile.hpp"

#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "platform/base/path_text.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/url.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/os/user_folder.hpp"
#include "platform/os/variable.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kFileBytes = 1024 * 1024;

std::string variable(const char* name) {
  return os::read_variable(name).value_or("");
}

Result<json> read_file(const fs::path& file) {
  const auto text = os::read_file(file, kFileBytes);
  if (!text && text.error().code == ErrorCode::not_found) {
    return Result<json>(boost::system::in_place_value, json::object());
  }
  if (!text) return text.error();
  auto value = parse_json(*text);
  if (!value || !value->is_object()) {
    return Error{ErrorCode::corrupt,
                 file.string() + " is damaged; remove it and log in again: agenttask fleet login URL"};
  }
  return value;
}

Result<Profile> from_environment(const std::string& server) {
  const auto url = net::parse_server_url(server);
  if (!url) return with_context(url.error(), "AGENTTASK_SERVER");
  Profile profile{url->to_string(), variable("AGENTTASK_TOKEN"), {}};
  if (profile.token.empty()) {
    return Error{ErrorCode::unauthorized,
                 "AGENTTASK_SERVER is set, so AGENTTASK_TOKEN has to hold an operator's token"};
  }
  const std::string authority = variable("AGENTTASK_CA");
  if (authority.empty()) {
    return Error{ErrorCode::unauthorized,
                 "AGENTTASK_SERVER is set, so AGENTTASK_CA has to name the file of the authority to trust "
                 "(agenttask-server init made it), or be: system"};
  }
  if (authority == "system") return profile;
  auto pem = os::read_file(to_path(authority), kFileBytes);
  if (!pem) return with_context(pem.error(), "AGENTTASK_CA");
  if (const auto read = net::Certificate::list_from_pem(*pem); !read) {
    return with_context(read.error(), "AGENTTASK_CA: " + authority);
  }
  profile.authority_pem = std::move(*pem);
  return profile;
}

}  // namespace

Result<ProfileFile> ProfileFile::of_this_user() {
  const auto folder = os::user_configuration_folder();
  if (!folder) {
    return Error{ErrorCode::invalid, folder.error().message +
                                         ", so it is not known where profiles are; set it, or "
                                         "AGENTTASK_SERVER, AGENTTASK_TOKEN and AGENTTASK_CA"};
  }
  return ProfileFile(*folder / "agenttask" / "fleet.json");
}

Result<Profile> ProfileFile::load(const std::string& name) const {
  // A token in a file that others can read is a token that others have.
  if (const auto safe = os::check_private(file_); !safe) return safe.error();
  const auto value = read_file(file_);
  if (!value) return value.error();
  const json* profiles = member_of(*value, "profiles");
  const json* found = profiles != nullptr ? member_of(*profiles, name.c_str()) : nullptr;
  if (found == nullptr) {
    return Error{ErrorCode::not_found,
                 "not logged in" + (name == "default" ? std::string() : " as profile " + name) +
                     "; run: agenttask fleet login URL" + (name == "default" ? "" : " --profile " + name) +
                     ", or set AGENTTASK_SERVER, AGENTTASK_TOKEN and AGENTTASK_CA"};
  }
  return Profile{text_of(*found, "server"), text_of(*found, "token"), text_of(*found, "authority")};
}

Result<void> ProfileFile::keep(const std::string& name, const Profile& profile) const {
  auto value = read_file(file_);
  if (!value) return value.error();
  (*value)["profiles"][name] = {
      {"server", profile.server}, {"token", profile.token}, {"authority", profile.authority_pem}};
  if (auto made = os::create_folder(file_.parent_path(), os::Readable::by_owner); !made) return made;
  return os::write_file(file_, encode_json(*value) + "\n", os::Readable::by_owner);
}

Result<Profile> find_profile(const std::string& name) {
  const std::string server = variable("AGENTTASK_SERVER");
  if (!server.empty()) return from_environment(server);
  const auto file = ProfileFile::of_this_user();
  if (!file) return file.error();
  auto profile = file->load(name);
  // A token that somebody sets is the one to use: never another one, with perhaps more rights, from a login.
  if (std::string token = variable("AGENTTASK_TOKEN"); profile && !token.empty())
    profile->token = std::move(token);
  return profile;
}

net::HttpClientSettings client_settings(const Profile& profile) {
  net::HttpClientSettings settings;
  settings.authority_pem = profile.authority_pem;
  settings.system_authorities = profile.authority_pem.empty();
  settings.tls_minimum = net::TlsVersion::tls_1_2;
  for (const char* name : {"HTTPS_PROXY", "https_proxy"}) {
    if (settings.proxy.empty()) settings.proxy = variable(name);
  }
  for (const char* name : {"NO_PROXY", "no_proxy"}) {
    if (settings.no_proxy.empty()) settings.no_proxy = variable(name);
  }
  return settings;
}

Result<void> check_profile_name(const std::string& name) {
  constexpr std::size_t kLongest = 64;
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (name.empty() || name.size() > kLongest || name.find_first_not_of(kAllowed) != std::string::npos) {
    return Error{ErrorCode::invalid, "--profile: a name has letters, digits, dots, dashes and underscores"};
  }
  return {};
}

}  // namespace agenttask::console
