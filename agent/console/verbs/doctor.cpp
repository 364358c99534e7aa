#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/checks.hpp"
#include "agent/console/console.hpp"
#include "agent/console/time_text.hpp"
#include "platform/os/system_clock.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

/// The agent's answer, if it gives one, and what that says about socket and agent.
std::optional<json> question(const Console& console, std::vector<Check>& checks) {
  const std::string address = folders_of(console).console_address();
  auto client = connect_at_once(console);
  if (!client) {
    const bool away = client.error().code == ErrorCode::unavailable;
    const bool denied = client.error().code == ErrorCode::denied;
    checks.push_back({"socket", denied ? Verdict::skipped : Verdict::failed, client.error().message,
                      away ? "systemctl start agenttask, or run agenttaskd in this folder" : ""});
    return std::nullopt;
  }
  checks.push_back({"socket", Verdict::good, address});
  const os::SystemClock clock;
  const auto begin = clock.monotonic();
  const agent::Answer answer = client->call("diagnostics", "{}");
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock.monotonic() - begin);
  if (!answer.ok() && answer.problem->status == 403) {
    checks.push_back({"agent", Verdict::skipped, "it answers, but tells root and its own user only"});
    return std::nullopt;
  }
  if (!answer.ok()) {
    checks.push_back({"agent", Verdict::failed, answer.problem->detail, "see the agent's log"});
    return std::nullopt;
  }
  auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value) {
    checks.push_back({"agent", Verdict::failed, value.error().message, "see the agent's log"});
    return std::nullopt;
  }
  checks.push_back({"agent", Verdict::good, "answers in " + format_duration(took.count())});
  return std::optional<json>(std::move(*value));
}

int doctor(const Console& console) {
  const os::Folders folders = folders_of(console);
  std::vector<Check> checks = check_files(folders);
  const auto add = [&](std::vector<Check> more) { checks.insert(checks.end(), more.begin(), more.end()); };
  const std::optional<json> diagnostics = question(console, checks);
  if (diagnostics) {
    add(check_agent(*diagnostics));
  } else {
    checks.push_back(check_policy_file(folders));
  }
  const Membership membership = membership_of(diagnostics ? &*diagnostics : nullptr, folders);
  add(check_membership(membership, now()));
  add(check_route(membership));
  if (console.json) {
    console.print_json(encode_checks(checks));
  } else {
    console.screen.print(render_checks(checks, console.screen));
  }
  return any_failed(checks) ? 1 : 0;
}

}  // namespace

void add_doctor(CLI::App& root, Console& console) {
  add_agent_verb(root, console,
                 {"doctor", "Test every link from the files to the server, with a remedy for what fails",
                  "  agenttask doctor\n"
                  "  sudo agenttask doctor --json | jq '.checks[] | select(.verdict==\"failed\")'\n"
                  "Exit codes: 0 nothing failed; 1 something did. As root it can look at all files."},
                 [&console] { return doctor(console); });
}

}  // namespace agenttask::console
