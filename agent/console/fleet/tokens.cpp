#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string id;
  std::string name;
  std::string ttl;
  std::int64_t uses = 1;
  std::vector<std::string> labels;
  std::string replace;
  std::string role = "operator";
  std::string expires;
};

std::string when(const json& object, const char* name) {
  const auto time = integer_of(object, name);
  return time ? format_time(*time, now()) : std::string();
}

/// The secret alone on standard output, so that a script can take it; the rest is for people.
int print_secret(const Fleet& fleet, const agent::Answer& answer, const std::string& advice) {
  const int code = print_answer(fleet.console, answer, [](const json& value) -> Result<std::string> {
    const std::string token = text_of(value, "token");
    if (token.empty()) return Error{ErrorCode::invalid, "the answer holds no token"};
    return printable(token) + "\n";
  });
  if (code == kSuccess && !fleet.console.json) fleet.console.screen.say(advice);
  return code;
}

int create_token(const Fleet& fleet, const Words& words) {
  json body{{"uses", words.uses}};
  if (!words.ttl.empty()) {
    const auto ttl = parse_duration(words.ttl);
    if (!ttl) return fleet.console.fail(with_context(ttl.error(), "--ttl"));
    body["ttl"] = *ttl;
  }
  if (!words.replace.empty()) body["replace"] = words.replace;
  if (!words.name.empty()) body["label"] = words.name;
  for (const std::string& entry : words.labels) {
    const std::size_t mark = entry.find('=');
    if (mark == std::string::npos || mark == 0) {
      return fleet.console.fail(Error{ErrorCode::invalid, "--label: '" + entry + "' is not KEY=VALUE"});
    }
    body["labels"][entry.substr(0, mark)] = entry.substr(mark + 1);
  }
  return print_secret(fleet, fleet.api.call("POST", api_path({"enrollment-tokens"}), {}, encode_json(body)),
                      "shown once; on the device: agenttask enroll URL TOKEN");
}

Result<std::string> render_tokens(const json& answer, const Screen& screen) {
  const json* list = member_of(answer, "enrollmentTokens");
  if (list == nullptr || !list->is_array())
    return Error{ErrorCode::invalid, "the answer holds no list of tokens"};
  if (list->empty()) return std::string("no enrolment tokens\n");
  Table table({{"ID"}, {"LABEL", true}, {"USED", false, true}, {"EXPIRES"}, {"REPLACES", true}});
  for (const json& token : *list) {
    table.add({text_of(token, "id"), text_of(token, "label"),
               std::to_string(integer_of(token, "used").value_or(0)) + " of " +
                   std::to_string(integer_of(token, "uses").value_or(0)),
               when(token, "expiresAt"), text_of(token, "replace")});
  }
  return table.render(screen);
}

int create_operator(const Fleet& fleet, const Words& words) {
  json body{{"label", words.name}, {"role", words.role}};
  if (!words.expires.empty()) {
    const auto expires = parse_time(words.expires, now());
    if (!expires) return fleet.console.fail(with_context(expires.error(), "--expires"));
    body["expiresAt"] = *expires;
  }
  return print_secret(fleet, fleet.api.call("POST", api_path({"operators"}), {}, encode_json(body)),
                      "shown once; it logs in with: agenttask fleet login URL");
}

Result<std::string> render_operators(const json& answer, const Screen& screen) {
  const json* list = member_of(answer, "operators");
  if (list == nullptr || !list->is_array())
    return Error{ErrorCode::invalid, "the answer holds no list of operators"};
  Table table({{"ID"}, {"NAME", true}, {"ROLE"}, {"CREATED"}, {"STATE"}});
  for (const json& one : *list) {
    std::string state = "valid";
    if (const std::string expires = when(one, "expiresAt"); !expires.empty()) state = "until " + expires;
    if (const std::string revoked = when(one, "revokedAt"); !revoked.empty()) state = "revoked " + revoked;
    table.add(
        {text_of(one, "id"), text_of(one, "label"), text_of(one, "role"), when(one, "createdAt"), state});
  }
  return table.render(screen);
}

int revoke(const Fleet& fleet, const char* what, const std::string& id) {
  return print_answer(fleet.console, fleet.api.call("DELETE", api_path({what, id})),
                      [&](const json&) { return Result<std::string>(printable(id) + " is revoked\n"); });
}

void add_tokens(CLI::App& fleet, Console& console, const std::shared_ptr<Words>& words) {
  CLI::App* token = add_verb_group(fleet, "token", "Tokens with which devices enrol");
  CLI::App* verb = add_fleet_verb(*token, console,
                                  {"create", "Make an enrolment token; it is printed once",
                                   "  agenttask fleet token create --ttl 1h\n"
                                   "  agenttask fleet token create --uses 50 --label site=berlin"},
                                  [words](const Fleet& at) { return create_token(at, *words); });
  verb->add_option("--ttl", words->ttl, "How long it can be used, such as 1h or 7d")->type_name("TIME");
  allow_range(*verb->add_option("--uses", words->uses, "How many devices may enrol with it (default 1)")
                   ->type_name("N"),
              1, INT64_MAX);
  verb->add_option("--label", words->labels,
                   "What devices that enrol with it are labelled; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  verb->add_option("--replace", words->replace, "The device takes the place of this node")->type_name("NODE");
  verb->add_option("--name", words->name, "A name for the token, for people")->type_name("TEXT");

  add_fleet_verb(*token, console, {"list", "List the enrolment tokens", "  agenttask fleet token list"},
                 [](const Fleet& at) {
                   return print_answer(
                       at.console, at.api.call("GET", api_path({"enrollment-tokens"})),
                       [&](const json& answer) { return render_tokens(answer, at.console.screen); });
                 });
  verb = add_fleet_verb(*token, console,
                        {"revoke", "Make an enrolment token void", "  agenttask fleet token revoke ID"},
                        [words](const Fleet& at) { return revoke(at, "enrollment-tokens", words->id); });
  verb->add_option("ID", words->id, "Its id, as agenttask fleet token list shows it")
      ->type_name("")
      ->required();
}

void add_operators(CLI::App& fleet, Console& console, const std::shared_ptr<Words>& words) {
  CLI::App* one = add_verb_group(fleet, "operator", "Who may use the server");
  CLI::App* verb =
      add_fleet_verb(*one, console,
                     {"create", "Make an operator; the token is printed once",
                      "  agenttask fleet operator create alice --role operator\n"
                      "  agenttask fleet operator create dashboard --role viewer --expires +90d"},
                     [words](const Fleet& at) { return create_operator(at, *words); });
  verb->add_option("NAME", words->name, "Who or what holds the token")->type_name("")->required();
  allow_only(*verb->add_option("--role", words->role,
                               "viewer reads; operator (default) also runs tasks; admin may do everything")
                  ->type_name("ROLE"),
             {"viewer", "operator", "admin"});
  verb->add_option("--expires", words->expires, "When it ends: +90d, 2027-01-01")->type_name("WHEN");

  add_fleet_verb(
      *one, console, {"list", "List the operators", "  agenttask fleet operator list"}, [](const Fleet& at) {
        return print_answer(at.console, at.api.call("GET", api_path({"operators"})),
                            [&](const json& answer) { return render_operators(answer, at.console.screen); });
      });
  verb = add_fleet_verb(*one, console,
                        {"revoke", "Take an operator's access away", "  agenttask fleet operator revoke ID"},
                        [words](const Fleet& at) { return revoke(at, "operators", words->id); });
  verb->add_option("ID", words->id, "Its id, as agenttask fleet operator list shows it")
      ->type_name("")
      ->required();
}

}  // namespace

void add_fleet_tokens(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  add_tokens(fleet, console, words);
  add_operators(fleet, console, words);
}

}  // namespace agenttask::console
