// The calls about the device itself: how it is, what it holds back, which server it has, its workers.
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/call_arguments.hpp"
#include "agent/console_api/console_calls.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/runner/runner.hpp"
#include "platform/os/host.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/object_reader.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

json parse_own(const std::string& text) {
  auto value = parse_json(text, limits::kJsonDepth + 16);
  return value ? std::move(*value) : json::object();
}

/// `device` or `operator`; empty where nobody holds, or it is not known who.
std::string_view name_of(HeldBy held_by) {
  switch (held_by) {
    case HeldBy::device:
      return "device";
    case HeldBy::server:
      return "operator";
    case HeldBy::nobody:
    case HeldBy::unknown:
      break;
  }
  return {};
}

}  // namespace

Result<std::string> ConsoleCalls::status(const json& arguments, const Caller&) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  const RunnerStatus runner = runner_.status();
  json answer{{"agent",
               {{"version", AGENTTASK_VERSION},
                {"pid", os::current_pid()},
                {"user", os::current_user_name()},
                {"startedAt", started_},
                {"time", clock_.wall()}}},
              {"slots", runner.slots},
              {"running", runner.running}};
  if (!runner.ledger_problem.empty()) answer["ledgerProblem"] = runner.ledger_problem;
  const auto ledger = ledger_.status();
  if (ledger) {
    json counts = json::object();
    for (const auto& [status, count] : ledger->tasks) counts[std::string(to_string(status))] = count;
    answer["tasks"] = std::move(counts);
    answer["hold"] = ledger->held_by != HeldBy::nobody;
    if (!ledger->quarantine.empty()) answer["quarantine"] = ledger->quarantine;
    for (const FormerNode& former : ledger->former_nodes) {
      answer["formerNodes"].push_back(
          {{"nodeId", former.node_id}, {"tasks", former.tasks}, {"running", former.running}});
    }
    if (const auto name = name_of(ledger->held_by); !name.empty()) answer["heldBy"] = name;
    answer["nodeId"] = ledger->node_id;  // without a link to ask, the last node that the tasks belonged to
    answer["ledger"] = {{"fileBytes", ledger->file_bytes},
                        {"outboxReports", ledger->outbox_reports},
                        {"outboxBytes", ledger->outbox_bytes},
                        {"outboxBudget", ledger->outbox_budget},
                        {"epoch", ledger->epoch},
                        {"directives", ledger->directives.sequence},
                        {"reports", ledger->reports.sequence},
                        {"acknowledged", ledger->acknowledged.sequence}};
  } else {
    // A sick ledger must not silence the one call that can say so.
    answer["ledgerProblem"] = ledger.error().message;
  }
  if (const auto problem = ledger_.problem()) {
    answer["ledgerProblem"] = problem->detail;
    answer["ledgerProblemCode"] = problem->code;
  }
  if (controls_.server_status) {
    answer["server"] = parse_own(controls_.server_status());
    answer["nodeId"] = answer["server"].value("nodeId", "");
  }
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::switch_hold(const json& arguments, bool hold) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  const auto before = ledger_.set_hold(hold);
  if (!before) return before.error();
  json answer{{"hold", hold}, {"running", runner_.status().running}, {"wasHeld", *before != HeldBy::nobody}};
  if (const auto name = name_of(*before); !name.empty()) answer["wasHeldBy"] = name;
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::hold(const json& arguments, const Caller&) const {
  return switch_hold(arguments, true);
}

Result<std::string> ConsoleCalls::release(const json& arguments, const Caller&) const {
  return switch_hold(arguments, false);
}

Result<std::string> ConsoleCalls::enroll(const json& arguments, const Caller&) const {
  constexpr std::size_t kUrl = 1024;
  constexpr std::size_t kToken = 1024;
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("url");
  reader.require("token");
  const std::string url = reader.text("url", kUrl, 1).value_or("");
  const std::string token = reader.text("token", kToken, 1).value_or("");
  const std::string name = reader.text("name", limits::kNodeNameBytes, 1).value_or("");
  if (auto error = reader.finish()) return *error;
  if (!controls_.enroll) return Error{ErrorCode::unsupported, "this agent cannot enrol"};
  if (const auto done = controls_.enroll(url, token, name); !done) return done.error();
  return encode_json(
      json{{"server", controls_.server_status ? parse_own(controls_.server_status()) : json::object()}});
}

Result<std::string> ConsoleCalls::unenroll(const json& arguments, const Caller&) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  if (!controls_.unenroll) return Error{ErrorCode::unsupported, "this agent cannot enrol"};
  if (const auto done = controls_.unenroll(); !done) return done.error();
  return encode_json(
      json{{"server", controls_.server_status ? parse_own(controls_.server_status()) : json::object()}});
}

Result<std::string> ConsoleCalls::diagnostics(const json& arguments, const Caller& caller) const {
  const auto known = status(arguments, caller);
  if (!known) return known.error();
  json answer = parse_own(*known);
  if (controls_.diagnostics) answer.update(parse_own(controls_.diagnostics()));
  if (const auto usage = os::own_usage()) {
    answer["usage"] = {{"residentBytes", usage->resident_bytes},
                       {"threads", usage->threads},
                       {"cpuMilliseconds", usage->cpu_milliseconds},
                       {"openFiles", usage->open_files}};
  }
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::get_workers(const json& arguments, const Caller&) const {
  if (const auto nothing = read_nothing(arguments); !nothing) return nothing.error();
  if (!controls_.workers) return Error{ErrorCode::unsupported, "this agent can't tell of its workers"};
  return controls_.workers();
}

}  // namespace agenttask::agent
