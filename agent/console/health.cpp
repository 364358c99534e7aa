#include "agent/console/health.hpp"

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

const json& object_of(const json& object, const char* name) {
  static const json kEmpty = json::object();
  const json* value = member_of(object, name);
  return value != nullptr && value->is_object() ? *value : kEmpty;
}

std::string describe_server(const json& server, UnixMilliseconds now) {
  const std::string state = text_of(server, "state");
  if (state.empty() || state == "not-enrolled") return "none; enrol with: agenttask enroll URL TOKEN";
  std::string text = text_of(server, "url");
  text += (text.empty() ? "" : ", ") + state;
  if (const auto contact = integer_of(server, "lastContact")) {
    text += ", last answer " + format_duration(now - *contact) + " ago";
  }
  if (const auto next = integer_of(server, "nextAttempt"); next && state != "connected") {
    text += ", next attempt in " + format_duration(*next - now);
  }
  return text;
}

std::string describe_tasks(const json& counts) {
  std::string text;
  for (const char* status : {"running", "sent", "awaiting_choice", "complete", "failed", "cancelled"}) {
    const auto count = integer_of(counts, status);
    if (!count || *count == 0) continue;
    if (!text.empty()) text += ", ";
    text += std::to_string(*count) + " " + (std::string_view(status) == "sent" ? "waiting" : status);
  }
  return text.empty() ? "none" : text;
}

/// Nodes that this device was, a line each.
void add_former_nodes(const json& answer, Fields& fields) {
  const json* former = member_of(answer, "formerNodes");
  if (former == nullptr || !former->is_array()) return;
  for (const json& node : *former) {
    const auto tasks = integer_of(node, "tasks").value_or(0);
    const auto running = integer_of(node, "running").value_or(0);
    fields.add("Was node",
               text_of(node, "nodeId") + ", " + std::to_string(tasks) +
                   (tasks == 1 ? " task of it is" : " tasks of it are") + " kept here" +
                   (running == 0 ? std::string() : ", " + std::to_string(running) + " still running"));
  }
}

std::string describe_outbox(const json& ledger) {
  const auto reports = integer_of(ledger, "outboxReports");
  if (!reports) return {};
  std::string text = *reports == 0 ? "empty" : std::to_string(*reports) + " reports wait for the server";
  if (*reports != 0) {
    text += " (" + format_bytes(integer_of(ledger, "outboxBytes").value_or(0)) + " of at most " +
            format_bytes(integer_of(ledger, "outboxBudget").value_or(0)) + ")";
  }
  return text;
}

std::string describe_offset(DurationMilliseconds offset) {
  constexpr DurationMilliseconds kUnnoticed = 1000;
  if (std::llabs(offset) < kUnnoticed) return "in step with the server";
  return format_duration(std::llabs(offset)) + (offset > 0 ? " ahead of the server" : " behind the server");
}

void find_server_problems(const json& server, UnixMilliseconds now, std::vector<std::string>& problems) {
  const std::string state = text_of(server, "state");
  const std::string why = text_of(server, "lastError");
  const json& wish = object_of(server, "enrollment");
  if (const std::string error = text_of(wish, "error"); !error.empty()) {
    problems.push_back(
        flag_of(wish, "refused") ? error : "not enrolled with " + text_of(wish, "url") + " yet: " + error);
  } else if (state == "disconnected" || state == "refused" || (state == "enrolling" && !why.empty()) ||
             (state == "connecting" && !why.empty())) {
    problems.push_back((state == "refused"     ? "the server refuses this device: "
                        : state == "enrolling" ? "not enrolled yet: "
                                               : "no contact with the server: ") +
                       (why.empty() ? std::string("no answer") : why));
  }
  if (const auto offset = integer_of(server, "clockOffset");
      offset && std::llabs(*offset) > kClockTolerance) {
    problems.push_back("this device's clock is " + describe_offset(*offset) +
                       "; set it, or start time synchronisation");
  }
  if (const auto expires = integer_of(server, "certificateExpires"); expires && *expires < now) {
    problems.push_back("the device's certificate expired " + format_duration(now - *expires) +
                       " ago; the agent renews it when the server answers");
  }
}

}  // namespace

std::string describe_holder(const std::string& held_by) {
  if (held_by == "device") return "held on this device";
  if (held_by == "operator") return "held by an operator of the server";
  return "held";
}

Health read_status(const json& answer, UnixMilliseconds now) {
  const json& agent = object_of(answer, "agent");
  const json& server = object_of(answer, "server");
  const json& ledger = object_of(answer, "ledger");
  Health health;
  if (const std::string problem = text_of(answer, "ledgerProblem"); !problem.empty()) {
    health.problems.push_back("the ledger fails, so no work is started: " + problem);
  }
  if (const std::string quarantine = text_of(answer, "quarantine"); !quarantine.empty()) {
    health.problems.push_back(
        "the server holds this device in quarantine, so no work is started (" + quarantine +
        "); an operator releases it (agenttask fleet node release NODE), or it enrols again");
  }
  find_server_problems(server, now, health.problems);
  const auto bytes = integer_of(ledger, "outboxBytes");
  const auto budget = integer_of(ledger, "outboxBudget");
  if (bytes && budget && *bytes > *budget / 8 * 7) {
    health.problems.push_back(
        "the outbox is nearly full, so output is dropped and soon no work is started; "
        "bring the server back into reach");
  }

  const json* running = member_of(answer, "running");
  const std::size_t busy = running != nullptr && running->is_array() ? running->size() : 0;
  Fields fields;
  fields.add("Agent", "running, version " + text_of(agent, "version") + ", pid " +
                          std::to_string(integer_of(agent, "pid").value_or(0)) + ", as user " +
                          text_of(agent, "user") + ", for " +
                          format_duration(now - integer_of(agent, "startedAt").value_or(now)));
  if (flag_of(answer, "hold")) {
    fields.add("Hold", describe_holder(text_of(answer, "heldBy")) +
                           ", starts nothing new; go on with: agenttask release");
  }
  std::string node = text_of(server, "name");
  if (const std::string id = text_of(answer, "nodeId"); !id.empty())
    node += node.empty() ? id : " (" + id + ")";
  fields.add("Node", node);
  add_former_nodes(answer, fields);
  fields.add("Server", describe_server(server, now));
  fields.add("Tasks", member_of(answer, "tasks") == nullptr ? "not known, as the ledger can't be read"
                                                            : describe_tasks(object_of(answer, "tasks")));
  fields.add("Slots", std::to_string(busy) + " of " +
                          std::to_string(integer_of(answer, "slots").value_or(0)) + " busy");
  fields.add("Outbox", describe_outbox(ledger));
  if (const auto size = integer_of(ledger, "fileBytes")) fields.add("Ledger", format_bytes(*size));
  if (const auto offset = integer_of(server, "clockOffset")) fields.add("Clock", describe_offset(*offset));
  if (const auto expires = integer_of(server, "certificateExpires")) {
    fields.add("Certificate", "valid until " + format_time(*expires));
  }
  health.page = fields.render();
  for (const std::string& problem : health.problems)
    health.page += "Problem: " + printable_lines(problem) + "\n";
  if (!health.problems.empty()) health.page += "agenttask doctor looks closer.\n";
  return health;
}

}  // namespace agenttask::console
