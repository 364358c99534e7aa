#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/task_words.hpp"
#include "platform/base/encoding.hpp"
#include "platform/base/path_text.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/url.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/os/variable.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

struct Words {
  std::string url;
  std::string token;
  std::string authority;
  std::string fingerprint;
  bool system = false;
  std::string profile = "default";
};

constexpr std::size_t kTokenBytes = 1024;
constexpr std::size_t kAuthorityBytes = 1024 * 1024;

Result<std::string> read_token(const Console& console, const std::string& source) {
  if (source.empty()) {
    if (auto set = os::read_variable("AGENTTASK_TOKEN"); set && !set->empty()) return *std::move(set);
    if (console.screen.errors_are_terminal()) {
      console.screen.say("paste the operator's token and press Enter (agenttask-server init printed one):");
    }
  }
  std::string token;
  if (source.empty() || source == "-") {
    std::getline(std::cin, token);
  } else {
    auto text = os::read_file(to_path(source), kTokenBytes);
    if (!text) return with_context(text.error(), "--token");
    token = std::move(*text);
  }
  const auto blank = [](unsigned char character) { return character <= ' '; };
  token.erase(std::remove_if(token.begin(), token.end(), blank), token.end());
  if (token.empty() || token.size() > kTokenBytes) {
    return Error{ErrorCode::invalid,
                 "no token was given; --token names a file that holds it, or - for standard input"};
  }
  return token;
}

/// 64 hexadecimal digits, with colons or without.
Result<std::string> read_fingerprint(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ':'), text.end());
  auto bytes = hex_decode(text);
  constexpr std::size_t kDigest = 32;
  if (!bytes || bytes->size() != kDigest) {
    return Error{
        ErrorCode::invalid,
        "--fingerprint: the SHA-256 of the authority's certificate is expected, 64 hexadecimal digits"};
  }
  return bytes;
}

/// The PEM of whom to trust; empty for the system's authorities.
Result<std::string> find_authority(const Words& words, const net::ServerUrl& server) {
  const int given =
      (words.authority.empty() ? 0 : 1) + (words.fingerprint.empty() ? 0 : 1) + (words.system ? 1 : 0);
  if (given != 1) {
    return Error{ErrorCode::invalid,
                 "say whom to trust: --authority FILE or --fingerprint SHA256 of the server's authority "
                 "(agenttask-server init prints both), or --system-authorities for a public certificate"};
  }
  if (words.system) return std::string();
  if (!words.authority.empty()) {
    auto pem = os::read_file(to_path(words.authority), kAuthorityBytes);
    if (!pem) return with_context(pem.error(), "--authority");
    if (const auto read = net::Certificate::list_from_pem(*pem); !read) {
      return with_context(read.error(), "--authority: " + words.authority);
    }
    return pem;
  }
  const auto fingerprint = read_fingerprint(words.fingerprint);
  if (!fingerprint) return fingerprint.error();
  auto settings = client_settings({});
  settings.system_authorities = false;
  auto pem = net::fetch_authority(server, *fingerprint, std::move(settings));
  if (!pem) return pem.error().error;
  return *pem;
}

int login(const Console& console, const Words& words) {
  Interrupts interrupts(1);
  if (const auto fits = check_profile_name(words.profile); !fits) return console.fail(fits.error());
  const auto server = net::parse_server_url(words.url);
  if (!server) return console.fail(server.error());
  const auto file = ProfileFile::of_this_user();
  if (!file) return console.fail(file.error());
  const auto authority = find_authority(words, *server);
  if (!authority) return console.fail(authority.error());
  const auto token = read_token(console, words.token);
  if (!token) return console.fail(token.error());
  const Profile profile{server->to_string(), *token, *authority};
  // A login that does not work is not kept.
  const agent::Answer answer = ServerApi(profile).call("GET", api_path({"nodes"}), {{"limit", "1"}});
  if (!answer.ok()) return console.fail(*answer.problem);
  if (const auto kept = file->keep(words.profile, profile); !kept) return console.fail(kept.error());
  if (console.json) {
    console.print_json(encode_json(nlohmann::json{
        {"server", profile.server}, {"profile", words.profile}, {"file", file->path().string()}}));
  } else {
    console.screen.print("logged in to " + profile.server + "; kept in " + file->path().string() + "\n");
  }
  return kSuccess;
}

}  // namespace

void add_fleet_login(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_verb(fleet, console,
                            {"login", "Keep the address and the token of a server for the other verbs",
                             "  agenttask fleet login https://tasks.example:8443 --fingerprint 3F:2A:…\n"
                             "  agenttask fleet login localhost --authority authority.pem --token token.txt\n"
                             "  agenttask fleet login tasks.example --system-authorities --profile work"},
                            [&console, words] { return login(console, *words); });
  verb->add_option("URL", words->url, "Where the server is: https://HOST:PORT, or HOST")
      ->type_name("")
      ->required();
  verb->add_option(
          "--token", words->token,
          "File with the operator's token, or - for standard input (default: AGENTTASK_TOKEN, or asked for)")
      ->type_name("FILE");
  verb->add_option("--authority", words->authority, "Trust the authority in this PEM file")
      ->type_name("FILE");
  verb->add_option("--fingerprint", words->fingerprint, "Trust the server's authority if this is its SHA-256")
      ->type_name("SHA256");
  verb->add_flag("--system-authorities", words->system, "Trust the public authorities of this system");
  verb->add_option("--profile", words->profile, "Name to keep it under (default: default)")
      ->type_name("NAME");
}

}  // namespace agenttask::console
