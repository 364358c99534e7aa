#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_files.hpp"
#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/health.hpp"
#include "agent/console/table.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

std::string describe(const Result<Enrolment>& enrolment) {
  if (!enrolment) return enrolment.error().message;
  if (enrolment->identity) {
    return "enrolled with " + enrolment->identity->server_url + " as " + enrolment->identity->name +
           (enrolment->pending ? "; a new enrolment with " + enrolment->pending->server_url + " waits" : "");
  }
  if (enrolment->pending) return "enrolls with " + enrolment->pending->server_url + " at the next start";
  return "none";
}

/// What the files tell while nobody answers.
int status_without_agent(const Console& console, const Problem& problem) {
  const os::Folders folders = folders_of(console);
  const auto ledger = look_at_ledger(folders);
  const auto enrolment = look_at_enrolment(folders);
  if (console.json) {
    json answer{{"agent", nullptr},
                {"address", folders.console_address()},
                {"state", folders.state.string()},
                {"problem", *parse_json(encode(problem))}};
    if (ledger) answer["ledger"] = {{"fileBytes", ledger->bytes}, {"isDatabase", ledger->is_database}};
    if (enrolment && enrolment->identity) {
      answer["server"] = {{"url", enrolment->identity->server_url}, {"nodeId", enrolment->identity->node_id}};
    }
    console.print_json(encode_json(answer));
    return kNotRunning;
  }
  Fields fields;
  fields.add("Agent", "not running: " + problem.detail);
  fields.add("State", folders.state.string());
  fields.add("Ledger", !ledger               ? ledger.error().message
                       : ledger->is_database ? format_bytes(static_cast<std::int64_t>(ledger->bytes))
                                             : "damaged: the file is no database");
  fields.add("Server", describe(enrolment));
  console.screen.print(fields.render());
  return kNotRunning;
}

int status(const Console& console) {
  auto client = connect_at_once(console);
  const agent::Answer answer =
      client ? client->call("status", "{}") : agent::Answer{{}, to_problem(client.error())};
  if (!answer.ok()) {
    constexpr int kAway = 503;
    if (answer.problem->status == kAway) return status_without_agent(console, *answer.problem);
    return console.fail(*answer.problem);
  }
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value) return console.fail(value.error());
  const Health health = read_status(*value, now());
  if (console.json) {
    console.print_json(answer.json);
  } else {
    console.screen.print(health.page);
  }
  return health.problems.empty() ? kHealthy : kDegraded;
}

}  // namespace

void add_status(CLI::App& root, Console& console) {
  add_agent_verb(
      root, console,
      {"status", "Show in one look how the agent is doing; works with the agent down",
       "  agenttask status\n"
       "  agenttask status --json | jq .server.state\n"
       "Exit codes: 0 healthy; 1 it runs but something is wrong; 3 it does not run; 125 cannot tell."},
      [&console] { return status(console); });
}

}  // namespace agenttask::console
