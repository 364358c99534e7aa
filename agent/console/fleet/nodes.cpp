#include <algorithm>
#include <initializer_list>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string node;
  std::string name;
  std::string presence;
  std::vector<std::string> labels;
  std::int64_t limit = 50;
  std::string cursor;
};

std::string labels_of(const json& node) {
  std::string text;
  const json* labels = member_of(node, "labels");
  if (labels == nullptr || !labels->is_object()) return text;
  for (const auto& [key, value] : labels->items()) {
    if (!value.is_string()) continue;
    text += (text.empty() ? "" : ", ") + key + "=" + value.get<std::string>();
  }
  return text;
}

/// The names in a list of the node's, in order; `left_out` are not shown.
std::string names_of(const json& node, const char* list,
                     std::initializer_list<std::string_view> left_out = {}) {
  std::string text;
  const json* names = member_of(node, list);
  if (names == nullptr || !names->is_array()) return text;
  for (const json& name : *names) {
    if (!name.is_string()) continue;
    const auto& word = name.get_ref<const std::string&>();
    if (std::find(left_out.begin(), left_out.end(), word) != left_out.end()) continue;
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

/// Types that not every device has.
std::string own_workers_of(const json& node) {
  return names_of(node, "workers", {"echo", "command", "service"});
}

std::string presence_of(const json& node) {
  if (integer_of(node, "revokedAt")) return "revoked";
  return (integer_of(node, "quarantinedAt") ? "quarantined" : text_of(node, "presence")) +
         (member_of(node, "ledger") != nullptr ? ", ledger unusable" : "") +
         (flag_of(node, "hold") ? ", on hold" : "");
}

/// Why it is in quarantine, and how that ends; empty where it is not.
std::string describe_quarantine(const json& node) {
  if (integer_of(node, "revokedAt") || !integer_of(node, "quarantinedAt")) return {};
  const std::string name = text_of(node, "name").empty() ? text_of(node, "id") : text_of(node, "name");
  return name + " is in quarantine: " + text_of(node, "quarantineReason") +
         "; take the device as it is with: agenttask fleet node release " + text_of(node, "id");
}

/// What is wrong with its ledger; empty where nothing is.
std::string describe_ledger(const json& node) {
  const json* ledger = member_of(node, "ledger");
  return ledger == nullptr ? std::string() : text_of(*ledger, "problem") + ": " + text_of(*ledger, "detail");
}

Result<std::string> render_node(const json& node) {
  const auto time = [&](const char* name) {
    const auto value = integer_of(node, name);
    return value ? format_time(*value, now()) : std::string();
  };
  Fields fields;
  fields.add("Node", text_of(node, "id"));
  fields.add("Name", text_of(node, "name"));
  fields.add("Presence", presence_of(node));
  fields.add("Last seen", time("lastSeen"));
  fields.add("Version", text_of(node, "version"));
  fields.add("Platform", text_of(node, "platform"));
  fields.add("Labels", labels_of(node));
  fields.add("Workers", names_of(node, "workers"));
  fields.add("Services", names_of(node, "services"));
  if (const auto unusable = integer_of(node, "workerProblems").value_or(0); unusable > 0) {
    fields.add("Unusable", std::to_string(unusable) + (unusable == 1 ? " worker" : " workers") +
                               "; agenttask workers, on the device, says why");
  }
  if (member_of(node, "holdRequested") != nullptr) {
    fields.add("Asked for", flag_of(node, "holdRequested") ? "hold; the device has not answered yet"
                                                           : "release; the device has not answered yet");
  }
  if (const auto offset = integer_of(node, "clockOffset")) {
    fields.add("Clock", std::to_string(*offset) + " ms from the server's");
  }
  fields.add("Enrolled", time("enrolledAt"));
  fields.add("Revoked", time("revokedAt"));
  fields.add("Quarantined", time("quarantinedAt"));
  fields.add("Because", text_of(node, "quarantineReason"));
  fields.add("Ledger", describe_ledger(node));
  return fields.render();
}

int list(const Fleet& fleet, const Words& words) {
  ServerApi::Query query{{"limit", std::to_string(words.limit)}};
  if (!words.name.empty()) query.emplace_back("name", words.name);
  if (!words.presence.empty()) query.emplace_back("presence", words.presence);
  for (const std::string& label : words.labels) query.emplace_back("label", label);
  if (!words.cursor.empty()) query.emplace_back("cursor", words.cursor);
  // Beside the table, so that what reads standard output finds one device a line.
  std::vector<std::string> notes;
  const int code =
      print_answer(fleet.console, fleet.api.call("GET", api_path({"nodes"}), query), [&](const json& answer) {
        auto table = render_nodes(answer, fleet.console.screen);
        if (!table) return table;
        for (const json& node : answer["nodes"]) {
          if (std::string note = describe_quarantine(node); !note.empty()) notes.push_back(std::move(note));
          if (const std::string problem = describe_ledger(node); !problem.empty())
            notes.push_back(printable(text_of(node, "name") + " can't use its ledger: " + problem));
        }
        return table;
      });
  for (const std::string& note : notes) fleet.console.screen.say(note);
  return code;
}

int change(const Fleet& fleet, const std::string& node, const json& changes) {
  return print_answer(fleet.console,
                      fleet.api.call("PATCH", api_path({"nodes", node}), {}, encode_json(changes)),
                      render_node);
}

/// One thing at a time: out of quarantine where it is in one, else a hold is lifted.
int release(const Fleet& fleet, const std::string& name) {
  const agent::Answer found = fleet.api.call("GET", api_path({"nodes", name}));
  if (!found.ok()) return fleet.console.fail(*found.problem);
  const auto node = parse_json(found.json, limits::kJsonDepth + 16);
  if (!node) return fleet.console.fail(with_context(node.error(), "cannot read the server's answer"));
  if (describe_quarantine(*node).empty()) return change(fleet, name, json{{"hold", false}});
  const int code =
      print_answer(fleet.console,
                   fleet.api.call("POST", api_path({"nodes", text_of(*node, "id"), "release"})), render_node);
  if (code == kSuccess) {
    fleet.console.screen.say(
        "it was in quarantine: the next agent that comes is taken with the ledger it has" +
        std::string(flag_of(*node, "hold") ? "; it is still on hold, release it once more" : ""));
  }
  return code;
}

int label(const Fleet& fleet, const Words& words) {
  json labels = json::object();
  for (const std::string& entry : words.labels) {
    const std::size_t mark = entry.find('=');
    if (mark == 0 || entry.empty())
      return fleet.console.fail(Error{ErrorCode::invalid, "a label is KEY=VALUE, or KEY- to remove it"});
    if (mark != std::string::npos) {
      labels[entry.substr(0, mark)] = entry.substr(mark + 1);
    } else if (entry.back() == '-') {
      labels[entry.substr(0, entry.size() - 1)] = nullptr;
    } else {
      return fleet.console.fail(
          Error{ErrorCode::invalid, "'" + entry + "' is no label: write KEY=VALUE, or KEY- to remove it"});
    }
  }
  return change(fleet, words.node, json{{"labels", std::move(labels)}});
}

}  // namespace

Result<std::string> render_nodes(const json& answer, const Screen& screen) {
  const json* nodes = member_of(answer, "nodes");
  if (nodes == nullptr || !nodes->is_array())
    return Error{ErrorCode::invalid, "the answer holds no list of nodes"};
  if (nodes->empty()) return std::string("no nodes; a device joins with: agenttask enroll URL TOKEN\n");
  // Only where there is something to show in it.
  const auto any = [&](auto&& shown) {
    return std::any_of(nodes->begin(), nodes->end(), [&](const json& node) { return !shown(node).empty(); });
  };
  const auto services_of = [](const json& node) { return names_of(node, "services"); };
  const bool with_workers = any(own_workers_of);
  const bool with_services = any(services_of);
  std::vector<Column> columns{{"NAME", true}, {"PRESENCE"},       {"LAST SEEN"},
                              {"VERSION"},    {"PLATFORM", true}, {"LABELS", true}};
  if (with_workers) columns.push_back({"WORKERS", true});
  if (with_services) columns.push_back({"SERVICES", true});
  columns.push_back({"ID"});
  Table table(std::move(columns));
  for (const json& node : *nodes) {
    const auto seen = integer_of(node, "lastSeen");
    const std::string presence = presence_of(node);
    const Color color = presence == "online"    ? Color::good
                        : presence == "offline" ? Color::faint
                                                : Color::busy;
    std::vector<Cell> row{text_of(node, "name"),
                          {presence, color},
                          seen ? format_age(now() - *seen) : std::string("never"),
                          text_of(node, "version"),
                          text_of(node, "platform"),
                          labels_of(node)};
    if (with_workers) row.emplace_back(own_workers_of(node));
    if (with_services) row.emplace_back(services_of(node));
    row.emplace_back(text_of(node, "id"));
    table.add(std::move(row));
  }
  std::string text = table.render(screen);
  if (const std::string cursor = text_of(answer, "nextCursor");
      !cursor.empty() && screen.output_is_terminal()) {
    text += "more with: --cursor " + printable(cursor) + "\n";
  }
  return text;
}

void add_fleet_nodes(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb =
      add_fleet_verb(fleet, console,
                     {"nodes", "List the devices of the server",
                      "  agenttask fleet nodes --presence online\n"
                      "  agenttask fleet nodes --label site=berlin --json\n"
                      "WORKERS are the task types that a device knows besides those that every device has."},
                     [words](const Fleet& at) { return list(at, *words); });
  verb->add_option("--name", words->name, "With this name")->type_name("NAME");
  verb->add_option("--label", words->labels, "With this label; several: with all of them")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  allow_only(*verb->add_option("--presence", words->presence, "online or offline")->type_name("PRESENCE"),
             {"online", "offline"});
  allow_range(*verb->add_option("--limit", words->limit, "How many (default 50)")->type_name("N"), 1,
              limits::kPageMost);
  verb->add_option("--cursor", words->cursor, "Go on where another list ended")->type_name("CURSOR");

  CLI::App* node = add_verb_group(fleet, "node", "Look at one device, or change it");
  const auto add = [&](const Verb& what, std::function<int(const Fleet&)> action) {
    CLI::App* one = add_fleet_verb(*node, console, what, std::move(action));
    one->add_option("NODE", words->node, "The device: its id or its name")->type_name("")->required();
    return one;
  };
  add({"show", "Show all that is known of a device, its workers and services included",
       "  agenttask fleet node show web-1"},
      [words](const Fleet& at) {
        return print_answer(at.console, at.api.call("GET", api_path({"nodes", words->node})), render_node);
      });
  verb = add({"label", "Set or remove labels",
              "  agenttask fleet node label web-1 site=berlin role=web\n"
              "  agenttask fleet node label web-1 role-"},
             [words](const Fleet& at) { return label(at, *words); });
  verb->add_option("LABEL", words->labels, "KEY=VALUE sets one, KEY- removes it")->type_name("")->required();
  add({"hold", "Start nothing new on a device; what runs goes on", "  agenttask fleet node hold web-1"},
      [words](const Fleet& at) {
        return change(at, words->node, json{{"hold", true}});
      });
  add({"release", "Let a device start tasks again after a hold or a quarantine",
       "  agenttask fleet node release web-1\n"
       "A device is in quarantine while nobody can tell whether it is the right one: a copied disk, a "
       "ledger\n"
       "that was lost or is old (fleet nodes says why). Released, the next agent that comes under its name "
       "is\n"
       "taken with the ledger it has; what another ledger was given ends as failed, interrupted. Switch off\n"
       "a copy first. A hold of such a device is lifted by a second release."},
      [words](const Fleet& at) { return release(at, words->node); });
  verb = add({"rename", "Give a device another name", "  agenttask fleet node rename web-1 web-old"},
             [words](const Fleet& at) {
               return change(at, words->node, json{{"name", words->name}});
             });
  verb->add_option("NAME", words->name, "The new name")->type_name("")->required();
  add({"revoke", "Take a device's access away for good: its certificate is void, its connection is cut",
       "  agenttask fleet node revoke web-1"},
      [words](const Fleet& at) {
        return print_answer(at.console, at.api.call("DELETE", api_path({"nodes", words->node})), render_node);
      });
}

}  // namespace agenttask::console
