#include <chrono>
#include <memory>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/text.hpp"
#include "agent/sync/identity.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/enrollment_token.hpp"
#include "platform/net/url.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/os/system_clock.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kPatience{15};  ///< how long we look on before we leave it to the agent
constexpr milliseconds kLook{200};

struct Words {
  std::string url;
  std::string token;
  std::string name;
};

/// The agent is away: the wish is put where its next start finds it.
int store_wish(const Console& console, const Words& words, const net::ServerUrl& server) {
  const os::Folders folders = folders_of(console);
  std::error_code unknown;
  if (!std::filesystem::exists(folders.state, unknown)) {  // the rights of one that is there are the agent's
    const auto made = os::create_folder(folders.state, os::Readable::by_owner);
    if (!made) return console.fail(with_context(made.error(), "cannot store the enrolment"));
  }
  // A running agent that does not answer must not find its files changed under it.
  const auto lock = os::FileLock::acquire(folders.state / "agenttaskd.lock");
  if (!lock) return console.fail(with_context(lock.error(), "the agent runs, but does not answer"));
  const agent::PendingEnrollment wish{server.to_string(), words.token, words.name,
                                      net::PrivateKey::generate().to_pem()};
  if (const auto kept = agent::IdentityFolder(folders.state).keep(wish); !kept) {
    return console.fail(with_context(kept.error(), "cannot store the enrolment"));
  }
  if (console.json) {
    console.print_json(encode_json(
        json{{"stored", true}, {"server", {{"state", "enrolling"}, {"url", server.to_string()}}}}));
  } else {
    console.screen.print("stored; the agent enrols with " + server.to_string() + " at its next start\n");
  }
  return kSuccess;
}

/// What came of the wish so far, as the agent's status tells it.
struct Progress {
  bool done = false;
  bool refused = false;  ///< for good
  std::string error;     ///< of the last attempt
};

Progress read_progress(const json& server, const std::string& url) {
  if (const json* wish = member_of(server, "enrollment"); wish != nullptr) {
    return {false, flag_of(*wish, "refused"), text_of(*wish, "error")};
  }
  return {text_of(server, "state") == "connected" && text_of(server, "url") == url, false, {}};
}

int print_enrolled(const Console& console, const json& server, const std::string& whole) {
  if (console.json) {
    console.print_json(whole);
  } else {
    console.screen.print("enrolled with " + printable(text_of(server, "url")) + " as " +
                         printable(text_of(server, "name")) + " (" + printable(text_of(server, "nodeId")) +
                         ")\n");
  }
  return kSuccess;
}

/// Looks on until the server has answered.
int look_on(const Console& console, const std::string& url) {
  const os::SystemClock clock;
  const auto deadline = clock.monotonic() + kPatience;
  std::string said;
  while (true) {
    const agent::Answer answer = ask(console, "status", json::object());
    if (!answer.ok()) return console.fail(*answer.problem);
    const auto status = parse_json(answer.json);
    const json* server = status ? member_of(*status, "server") : nullptr;
    if (server == nullptr)
      return console.fail(Error{ErrorCode::internal, "the agent says nothing of a server"});
    const Progress progress = read_progress(*server, url);
    if (progress.done) return print_enrolled(console, *server, answer.json);
    if (!progress.error.empty() && progress.error != said) {
      console.screen.say(progress.error);
      said = progress.error;
    }
    const bool late = clock.monotonic() >= deadline;
    if (late || progress.refused) {
      if (console.json) console.print_json(answer.json);
      if (!progress.refused) {
        console.screen.say("not enrolled yet; the agent goes on trying by itself. See: agenttask status");
      }
      return kFailure;
    }
    std::this_thread::sleep_for(kLook);
  }
}

int enroll(const Console& console, Words words) {
  const auto server = net::parse_server_url(words.url);
  if (!server) return console.fail(server.error());
  if (const auto token = net::parse_enrollment_token(words.token); !token) return console.fail(token.error());
  json arguments{{"url", server->to_string()}, {"token", words.token}};
  if (!words.name.empty()) arguments["name"] = words.name;
  auto client = connect(console);
  if (!client) {
    if (client.error().code == ErrorCode::unavailable) return store_wish(console, words, *server);
    return console.fail(client.error());
  }
  const agent::Answer answer = client->call("enroll", encode_json(arguments));
  if (!answer.ok()) return console.fail(*answer.problem);
  return look_on(console, server->to_string());
}

}  // namespace

void add_enroll(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"enroll", "Make this device a node of a task server, with a token from there",
       "  agenttask enroll https://tasks.example:8443 TOKEN\n"
       "  agenttask enroll tasks.example TOKEN --name web-1\n"
       "The token comes from: agenttask-server token create, or agenttask fleet token create.\n"
       "While the agent is not running the wish is stored for its next start."},
      [&console, words] { return enroll(console, *words); });
  verb->add_option("URL", words->url, "Where the server is: https://HOST:PORT, or HOST")
      ->type_name("")
      ->required();
  verb->add_option("TOKEN", words->token, "The enrolment token")->type_name("")->required();
  verb->add_option("--name", words->name, "Name of this device (default: the host's)")->type_name("NAME");
}

}  // namespace agenttask::console
