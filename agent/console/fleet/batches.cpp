#include "agent/console/fleet/batches.hpp"

#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/task_list.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string id;
  std::int64_t limit = 50;
  std::string cursor;
  std::string status;
  bool wait = false;
  bool no_wait = false;
};

/// All whom a task would be for, page by page.
int list_targets(const Fleet& fleet, json body) {
  body["dryRun"] = true;
  json whole;
  std::string cursor;
  do {
    ServerApi::Query query{{"limit", std::to_string(limits::kPageMost)}};
    if (!cursor.empty()) query.emplace_back("cursor", cursor);
    const agent::Answer answer = fleet.api.call("POST", api_path({"tasks"}), query, encode_json(body));
    if (!answer.ok()) return fleet.console.fail(*answer.problem);
    auto page = parse_json(answer.json, limits::kJsonDepth + 16);
    if (!page) return fleet.console.fail(with_context(page.error(), "cannot read the server's answer"));
    cursor = text_of(*page, "nextCursor");
    const json* nodes = member_of(*page, "nodes");
    if (nodes == nullptr || !nodes->is_array()) {
      return fleet.console.fail(Error{ErrorCode::invalid, "the answer holds no list of nodes"});
    }
    if (whole.is_null()) {
      whole = std::move(*page);
    } else {
      for (const json& node : *nodes) whole["nodes"].push_back(node);
    }
  } while (!cursor.empty());
  whole["nextCursor"] = nullptr;
  if (fleet.console.json) {
    fleet.console.print_json(encode_json(whole));
    return kSuccess;
  }
  const auto count = integer_of(whole, "targets").value_or(0);
  if (count != 0) {
    const auto table = render_nodes(whole, fleet.console.screen);
    if (!table) return fleet.console.fail(table.error());
    fleet.console.screen.print(*table);
  }
  fleet.console.screen.say("it would be for " + std::to_string(count) +
                           (count == 1 ? " device" : " devices") + "; nothing was enqueued");
  return kSuccess;
}

/// What the server understood of a time, as it is said of a task for one device.
std::string announce_batch(const json& batch) {
  const auto spec = spec_from_json(batch);
  return spec ? announce({*spec, {}}, now(), kFleetVerbs) : std::string();
}

Result<std::string> render_batches(const json& answer, const Screen& screen) {
  const json* list = member_of(answer, "batches");
  if (list == nullptr || !list->is_array())
    return Error{ErrorCode::invalid, "the answer holds no list of batches"};
  if (list->empty()) return std::string("no batches; one is made with: agenttask fleet add --all TYPE\n");
  Table table({{"ID"},
               {"TYPE", true},
               {"DEVICES", false, true},
               {"COMPLETE", false, true},
               {"FAILED", false, true},
               {"CANCELLED", false, true},
               {"OPEN", false, true},
               {"ADDED"},
               {"DESCRIPTION", true}});
  for (const json& batch : *list) {
    const json* counts = member_of(batch, "counts");
    const auto count = [&](const char* status) {
      return counts == nullptr ? 0 : integer_of(*counts, status).value_or(0);
    };
    const auto failed = count("failed");
    const auto open = count("pending") + count("sent") + count("awaiting_choice") + count("running");
    table.add({text_of(batch, "id"),
               text_of(batch, "type"),
               std::to_string(integer_of(batch, "targets").value_or(0)),
               {std::to_string(count("complete")), Color::good},
               {std::to_string(failed), failed == 0 ? Color::faint : Color::bad},
               std::to_string(count("cancelled")),
               {std::to_string(open), open == 0 ? Color::faint : Color::busy},
               format_time(integer_of(batch, "addTime").value_or(0), now()),
               text_of(batch, "description")});
  }
  std::string text = table.render(screen);
  if (const std::string cursor = text_of(answer, "nextCursor");
      !cursor.empty() && screen.output_is_terminal()) {
    text += "more with: --cursor " + printable(cursor) + "\n";
  }
  return text;
}

std::string describe_target(const json& batch) {
  const json* target = member_of(batch, "target");
  if (target == nullptr) return {};
  if (flag_of(*target, "all")) return "every device";
  if (const auto named = integer_of(*target, "nodes")) return std::to_string(*named) + " named";
  std::string text;
  const json* labels = member_of(*target, "labels");
  if (labels == nullptr || !labels->is_object()) return text;
  for (const auto& [key, value] : labels->items()) {
    if (value.is_string()) text += (text.empty() ? "" : ", ") + key + "=" + value.get<std::string>();
  }
  return text;
}

/// The batch, and below it a page of its tasks.
Result<std::string> render_batch(const json& batch, const Screen& screen) {
  const auto time = [&](const char* name) {
    const auto value = integer_of(batch, name);
    return value ? format_time(*value, now()) : std::string();
  };
  Fields fields;
  fields.add("Batch", text_of(batch, "id"));
  fields.add("Type", text_of(batch, "type"));
  fields.add("Description", text_of(batch, "description"));
  fields.add("Target", describe_target(batch));
  fields.add("Devices", std::to_string(integer_of(batch, "targets").value_or(0)));
  fields.add("Status", describe_counts(batch) + (flag_of(batch, "ended") ? "; all have ended" : ""));
  if (const auto purged = integer_of(batch, "purged")) {
    fields.add("Purged", std::to_string(*purged) + " after their retention; they are counted above");
  }
  fields.add("Added", time("addTime"));
  fields.add("Cancel asked", time("cancelRequestedAt"));
  auto tasks = render_task_list(batch, screen, {true, false, kFleetVerbs}, now());
  if (!tasks) return tasks.error();
  return fields.render() + "\n" + *tasks;
}

int show(const Fleet& fleet, const Words& words, const std::string& id) {
  if (words.wait) return follow_batch(fleet, id, false);
  ServerApi::Query query{{"limit", std::to_string(words.limit)}};
  if (!words.status.empty()) query.emplace_back("status", words.status);
  if (!words.cursor.empty()) query.emplace_back("cursor", words.cursor);
  return print_answer(fleet.console, fleet.api.call("GET", api_path({"batches", id}), query),
                      [&](json batch) {
                        put_node_names(fleet.api, batch, "tasks");
                        return render_batch(batch, fleet.console.screen);
                      });
}

int cancel(const Fleet& fleet, const Words& words, const std::string& id) {
  // Devices may need their grace of 5 s to stop a run; an offline one answers when it comes.
  return print_answer(
      fleet.console,
      fleet.api.call("POST", api_path({"batches", id, "cancel"}), {{"wait", words.no_wait ? "0" : "10000"}}),
      [&](const json& batch) -> Result<std::string> {
        return "batch " + id + ": " + describe_counts(batch) +
               (flag_of(batch, "ended") ? "\n" : "; what is open was asked to stop\n");
      });
}

int list(const Fleet& fleet, const Words& words) {
  ServerApi::Query query{{"limit", std::to_string(words.limit)}};
  if (!words.cursor.empty()) query.emplace_back("cursor", words.cursor);
  return print_answer(fleet.console, fleet.api.call("GET", api_path({"batches"}), query),
                      [&](const json& answer) { return render_batches(answer, fleet.console.screen); });
}

void add_page_options(CLI::App& verb, Words& words) {
  allow_range(
      *verb.add_option("--limit", words.limit, "How many, the newest first (default 50)")->type_name("N"), 1,
      limits::kPageMost);
  verb.add_option("--cursor", words.cursor, "Go on where another list ended (its nextCursor)")
      ->type_name("CURSOR");
}

}  // namespace

int enqueue_batch(const Fleet& fleet, BatchWish wish) {
  auto target = target_of(wish.target);
  if (!target) return fleet.console.fail(target.error());
  json body = std::move(wish.task);
  body["target"] = std::move(*target);
  if (wish.target.dry_run) return list_targets(fleet, std::move(body));
  const agent::Answer answer =
      request_work(fleet, api_path({"tasks"}), body, wish.idempotency_key, wish.wait,
                   "left before the server answered; whether it took the tasks: agenttask fleet batches");
  if (!answer.ok()) return fleet.console.fail(*answer.problem);
  const auto batch = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!batch) return fleet.console.fail(with_context(batch.error(), "cannot read the server's answer"));
  const std::string id = text_of(*batch, "id");
  const auto count = integer_of(*batch, "targets").value_or(0);
  const std::string devices = std::to_string(count) + (count == 1 ? " device" : " devices");
  if (wish.wait) {
    if (!fleet.console.json) fleet.console.screen.say("batch " + id + " for " + devices);
    return follow_batch(fleet, id, true);
  }
  if (fleet.console.json) {
    fleet.console.print_json(answer.json);
    return kSuccess;
  }
  if (const std::string understood = announce_batch(*batch); !understood.empty())
    fleet.console.screen.say(understood);
  fleet.console.screen.say("for " + devices + "; what comes of it: agenttask fleet batch show " + id);
  fleet.console.screen.print(id + "\n");
  return kSuccess;
}

void add_fleet_batches(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb =
      add_fleet_verb(fleet, console,
                     {"batches", "List tasks for many devices, the newest first",
                      "  agenttask fleet batches\n"
                      "OPEN are those whose device has not ended them yet, offline ones included."},
                     [words](const Fleet& at) { return list(at, *words); });
  add_page_options(*verb, *words);

  CLI::App* batch = add_verb_group(fleet, "batch", "Look at one task for many devices, or cancel all of it");
  const auto add = [&](const Verb& what, int (*action)(const Fleet&, const Words&, const std::string&)) {
    CLI::App* one = add_fleet_verb(*batch, console, what, [words, action](const Fleet& at) {
      std::string id;
      const agent::Answer found = at.api.resolve_batch(words->id, id);
      return found.ok() ? action(at, *words, id) : at.console.fail(*found.problem);
    });
    one->add_option("ID", words->id, "The batch: its id, the end of it, or @last: the newest of the server")
        ->type_name("")
        ->required();
    return one;
  };
  verb = add(
      {"show", "Show how far it is, and its tasks",
       "  agenttask fleet batch show @last\n"
       "  agenttask fleet batch show 4f2a --status failed\n"
       "  agenttask fleet batch show 4f2a --wait\n"
       "Exit codes with --wait: 0 all its tasks are complete; 1 they have ended, and not all are complete;\n"
       "130 left by Ctrl-C; 125 AgentTask failed."},
      show);
  verb->add_flag("--wait", words->wait, "Wait until all of it has ended");
  allow_only(*verb->add_option("--status", words->status,
                               "Only tasks in this state: pending, sent, awaiting_choice, running, complete, "
                               "failed, cancelled")
                  ->type_name("STATUS"),
             {"pending", "sent", "awaiting_choice", "running", "complete", "failed", "cancelled"});
  add_page_options(*verb, *words);
  verb = add({"cancel", "Cancel all its tasks that have not ended", "  agenttask fleet batch cancel @last"},
             cancel);
  verb->add_flag("--no-wait", words->no_wait, "Don't wait up to 10 s for the devices' answers");
}

}  // namespace agenttask::console
