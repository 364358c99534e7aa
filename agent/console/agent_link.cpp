#include "agent/console/agent_link.hpp"

#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "platform/base/path_text.hpp"
#include "platform/os/host.hpp"
#include "platform/os/variable.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

Error advise(Error error, const std::string& address) {
  switch (error.code) {
    case ErrorCode::unavailable:
      error.message = "no agent answers at " + address +
                      "; start agenttaskd, or name the folder of a running one with --state-dir";
      break;
    case ErrorCode::denied:
      error.message = "user " + os::current_user_name() + " may not talk to the agent at " + address +
                      "; become root, or ask for the group that its configuration names (console-group)";
      break;
    default:
      error = with_context(std::move(error), "cannot talk to the agent at " + address);
      break;
  }
  return error;
}

Result<agent::ConsoleClient> connect_within(const Console& console, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kLook{50};
  const std::string address = folders_of(console).console_address();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    auto client = agent::ConsoleClient::connect(address);
    if (client) return client;
    const bool may_come = client.error().code == ErrorCode::unavailable;
    if (!may_come || std::chrono::steady_clock::now() >= deadline) return advise(client.error(), address);
    std::this_thread::sleep_for(kLook);
  }
}

}  // namespace

os::Folders folders_of(const Console& console) {
  if (!console.state_folder.empty()) return os::folders_inside(to_path(console.state_folder));
  const auto folder = os::read_variable("AGENTTASK_STATE_DIR");
  if (folder && !folder->empty()) return os::folders_inside(to_path(*folder));
  return os::default_folders();
}

Result<agent::ConsoleClient> connect(const Console& console) {
  return connect_within(console, console.patience);
}

Result<agent::ConsoleClient> connect_at_once(const Console& console) {
  return connect_within(console, std::chrono::milliseconds(0));
}

agent::Answer ask(const Console& console, std::string_view call, const nlohmann::json& arguments) {
  auto client = connect(console);
  if (!client) return {{}, to_problem(client.error())};
  return client->call(call, encode_json(arguments));
}

int ask_and_print(const Console& console, std::string_view call, const nlohmann::json& arguments,
                  const std::function<Result<std::string>(const nlohmann::json&)>& render) {
  const agent::Answer answer = ask(console, call, arguments);
  if (!answer.ok()) return console.fail(*answer.problem);
  if (console.json) {
    console.print_json(answer.json);
    return kSuccess;
  }
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value) return console.fail(with_context(value.error(), "cannot read the agent's answer"));
  const auto text = render(*value);
  if (!text) return console.fail(text.error());
  console.screen.print(*text);
  return kSuccess;
}

}  // namespace agenttask::console
