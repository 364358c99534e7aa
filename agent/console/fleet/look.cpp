#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/explanation.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/kept_output.hpp"
#include "agent/console/list_words.hpp"
#include "agent/console/output_printer.hpp"
#include "agent/console/task_list.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string node;
  std::string batch;
  ListWords list;
  bool full = false;
  bool wait = false;
  bool follow = false;
  std::int64_t run = 0;
};

/// A filter that fits nothing is no error, but a misspelt name shall not look like a device without tasks.
void warn_of_unknown_node(const Fleet& fleet, const std::string& node, const agent::Answer& answer) {
  const auto list = parse_json(answer.json, limits::kJsonDepth + 16);
  const json* tasks = list ? member_of(*list, "tasks") : nullptr;
  if (tasks == nullptr || !tasks->empty()) return;
  const agent::Answer found = fleet.api.call("GET", api_path({"nodes", node}));
  if (!found.ok() && found.problem->code == "unknown-node") {
    fleet.console.screen.say("no node " + node +
                             " is known; agenttask fleet nodes lists them (a revoked one goes by its id)");
  }
}

int list(const Fleet& fleet, const Words& words) {
  ServerApi::Query query = filters(words.list);
  if (!words.node.empty()) query.emplace_back("node", words.node);
  if (words.full) query.emplace_back("full", "1");
  if (!words.batch.empty()) {
    std::string id;
    const agent::Answer found = fleet.api.resolve_batch(words.batch, id);
    if (!found.ok()) return fleet.console.fail(*found.problem);
    query.emplace_back("batch", id);
  }
  const agent::Answer answer = fleet.api.call("GET", api_path({"tasks"}), query);
  const int code = print_answer(fleet.console, answer, [&](json tasks) {
    if (words.node.empty()) put_node_names(fleet.api, tasks, "tasks");
    return render_task_list(tasks, fleet.console.screen,
                            {words.node.empty(), words.list.awaiting, kFleetVerbs}, now());
  });
  if (code == kSuccess && !words.node.empty()) warn_of_unknown_node(fleet, words.node, answer);
  return code;
}

/// Below the page of a task that runs again and again.
void print_last_runs(const Console& console, const agent::Answer& answer) {
  const auto list = answer.ok() ? parse_json(answer.json, limits::kJsonDepth + 16) : parse_json("{}");
  if (list) console.screen.print(render_last_runs(*list, console.screen, now()));
}

OutputTail last_output(const Fleet& fleet, const std::string& id) {
  OutputTail tail;
  (void)fleet.api.follow(api_path({"tasks", id, "output"}), {}, [&](std::string_view line) {
    if (!line.empty()) tail.add(line);
    return true;
  });
  return tail;
}

int show(const Fleet& fleet, const Words& words, const std::string& id) {
  while (true) {
    ServerApi::Query query;
    if (words.wait) query.emplace_back("wait", std::to_string(limits::kWaitMost));
    const agent::Answer answer = fleet.api.call("GET", api_path({"tasks", id}), query);
    if (!answer.ok()) return fleet.console.fail(*answer.problem);
    const auto view = task_of(answer);
    if (!view) return fleet.console.fail(view.error());
    if (words.wait && !has_ended(view->task.state.status)) continue;
    const int printed = print_task(fleet.console, answer);
    const bool of_a_worker = view->task.spec.type != "command" && view->task.spec.type != "echo";
    if (!fleet.console.json && of_a_worker && view->task.state.run_count > 0) {
      fleet.console.screen.print(last_output(fleet, id).render(kFleetVerbs));
    }
    if (!fleet.console.json && view->task.spec.schedule.recurs()) {
      print_last_runs(fleet.console, fleet.api.call("GET", api_path({"tasks", id, "runs"})));
    }
    return words.wait && printed == kSuccess ? conclude(*view, false).exit_code : printed;
  }
}

/// A device that is away may be further than what it said last.
std::string about_absence(const Fleet& fleet, const json& task) {
  const agent::Answer found = fleet.api.call("GET", api_path({"nodes", text_of(task, "nodeId")}));
  const auto node = found.ok() ? parse_json(found.json, limits::kJsonDepth + 16) : parse_json("{}");
  if (!node || text_of(*node, "presence") != "offline" || integer_of(*node, "revokedAt")) return {};
  const auto seen = integer_of(*node, "lastSeen");
  const std::string device = "Its device, " + printable(text_of(*node, "name")) + ", ";
  const std::string last = seen ? "last seen " + format_age(now() - *seen) : std::string("never seen");
  if (text_of(task, "status") == "pending") return device + "was " + last + ".\n";
  return device + "is not connected (" + last + "): this is what it said last.\n";
}

int explain_task(const Fleet& fleet, const std::string& id) {
  const agent::Answer answer = fleet.api.call("GET", api_path({"tasks", id}));
  if (!answer.ok()) return fleet.console.fail(*answer.problem);
  auto task = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!task) return fleet.console.fail(with_context(task.error(), "cannot read the server's answer"));
  if (fleet.console.json) {
    const std::string reason = text_of(*task, "reason");
    const std::string detail = text_of(*task, "detail");
    fleet.console.print_json(
        encode_json(json{{"task", std::move(*task)}, {"reason", reason}, {"detail", detail}}));
    return kSuccess;
  }
  const auto text = explain(json{{"task", *task}}, now(), kFleetVerbs);
  if (!text) return fleet.console.fail(text.error());
  std::string page = *text;
  const std::string status = text_of(*task, "status");
  if (status == "failed") {
    if (integer_of(*task, "runCount").value_or(0) > 0)
      page += last_output(fleet, id).last_words(id, kFleetVerbs);
  } else if (status != "complete" && status != "cancelled") {
    page += about_absence(fleet, *task);
  }
  fleet.console.screen.print(page);
  return kSuccess;
}

/// What there is now of the output, without waiting for more.
int print_output(const Fleet& fleet, const Words& words, const std::string& id) {
  OutputPrinter printer(fleet.console.screen);
  ServerApi::Query query;
  if (words.run != 0) query.emplace_back("run", std::to_string(words.run));
  const agent::Answer answer =
      fleet.api.follow(api_path({"tasks", id, "output"}), query, [&](std::string_view text) {
        if (text.empty()) return true;
        if (fleet.console.json) return fleet.console.screen.print(std::string(text) + "\n");
        const auto line = parse_json(text);
        if (!line || member_of(*line, "end") != nullptr) return true;
        const auto chunk = chunk_from_json(*line);
        return !chunk || printer.print(integer_of(*line, "run").value_or(1), *chunk);
      });
  return answer.ok() ? kSuccess : fleet.console.fail(*answer.problem);
}

int output(const Fleet& fleet, const Words& words, const std::string& id) {
  if (words.follow) return follow_fleet(fleet, {id, true, false});
  return print_output(fleet, words, id);
}

int runs(const Fleet& fleet, const std::string& id) {
  return print_answer(
      fleet.console, fleet.api.call("GET", api_path({"tasks", id, "runs"})),
      [&](const json& answer) { return render_run_list(answer, fleet.console.screen, now()); });
}

}  // namespace

void put_node_names(ServerApi& api, json& answer, const char* list) {
  const auto entries = answer.find(list);
  if (entries == answer.end() || !entries->is_array() || entries->empty()) return;
  const agent::Answer nodes =
      api.call("GET", api_path({"nodes"}), {{"limit", std::to_string(limits::kPageMost)}});
  const auto known = nodes.ok() ? parse_json(nodes.json) : parse_json("{}");
  const json* found = known ? member_of(*known, "nodes") : nullptr;
  if (found == nullptr || !found->is_array()) return;
  std::map<std::string, std::string> names;
  for (const json& node : *found) names[text_of(node, "id")] = text_of(node, "name");
  for (json& entry : *entries) {
    const auto name = names.find(text_of(entry, "nodeId"));
    if (name != names.end() && !name->second.empty()) entry["nodeId"] = name->second;
  }
}

void add_fleet_look(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();

  CLI::App* verb =
      add_fleet_verb(fleet, console,
                     {"list", "List tasks of all devices or of one, the newest first",
                      "  agenttask fleet list --status failed\n"
                      "  agenttask fleet list --awaiting\n"
                      "  agenttask fleet list --batch @last --status failed\n"
                      "  agenttask fleet list --deleted\n"
                      "  agenttask fleet list --node web-1 --full\n"
                      "  agenttask fleet list --node web-1 --tag nightly --json\n"
                      "Lists come without what tasks were given and produced; --full fetches that too."},
                     [words](const Fleet& at) { return list(at, *words); });
  verb->add_option("--node", words->node, "Of this device only: its id or its name")->type_name("NODE");
  verb->add_option("--batch", words->batch, "Of this batch only: its id, the end of it, or @last")
      ->type_name("ID");
  add_list_options(*verb, words->list);
  verb->add_flag("--full", words->full, "Also data and result; at most 20 tasks a page");

  verb =
      add_fleet_task_verb(fleet, console,
                          {"show", "Show all that is known of a task, its result included",
                           "  agenttask fleet show 4f2a\n"
                           "  agenttask fleet show @last --wait --json"},
                          [words](const Fleet& at, const std::string& id) { return show(at, *words, id); });
  verb->add_flag("--wait", words->wait, "Wait until it has ended, and exit as it did");

  add_fleet_task_verb(
      fleet, console,
      {"explain", "Say why a task waits, or why it ended as it did, as far as its device told",
       "  agenttask fleet explain 4f2a\n"
       "  agenttask fleet explain @last"},
      explain_task);

  verb =
      add_fleet_task_verb(fleet, console,
                          {"output", "Print the output of a task as it was written",
                           "  agenttask fleet output 4f2a > output.txt\n"
                           "  agenttask fleet output @last --follow"},
                          [words](const Fleet& at, const std::string& id) { return output(at, *words, id); });
  verb->add_flag("--follow", words->follow, "Go on until it has ended, and exit as it did; Ctrl-C leaves it");
  allow_range(*verb->add_option("--run", words->run, "Of this run (default: the last)")->type_name("RUN"), 1,
              INT64_MAX);

  add_fleet_task_verb(fleet, console,
                      {"runs", "List every run of a task with its outcome",
                       "  agenttask fleet runs 4f2a\n"
                       "The newest run stands last; with --json first, as in every list of the API."},
                      runs);
}

}  // namespace agenttask::console
