#include "agent/console/fleet/fleet.hpp"

#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {

CLI::App* add_fleet_verb(CLI::App& parent, Console& console, const Verb& verb,
                         std::function<int(const Fleet&)> action) {
  const auto name = std::make_shared<std::string>("default");
  CLI::App* app = add_verb(parent, console, verb, [&console, name, action = std::move(action)] {
    if (const auto fits = check_profile_name(*name); !fits) return console.fail(fits.error());
    const auto profile = find_profile(*name);
    if (!profile) return console.fail(profile.error());
    Interrupts interrupts(1);
    ServerApi api(*profile);
    return action({console, api, interrupts});
  });
  app->add_option("--profile", *name, "Which login to use (default: default)")->type_name("NAME");
  return app;
}

CLI::App* add_fleet_task_verb(CLI::App& parent, Console& console, const Verb& verb,
                              std::function<int(const Fleet&, const std::string& id)> action) {
  const auto text = std::make_shared<std::string>();
  CLI::App* app =
      add_fleet_verb(parent, console, verb, [text, action = std::move(action)](const Fleet& fleet) {
        std::string id;
        const agent::Answer found = fleet.api.resolve(*text, id);
        return found.ok() ? action(fleet, id) : fleet.console.fail(*found.problem);
      });
  app->add_option("ID", *text, "The task: its id, the end of it, or @last: the newest of all on the server")
      ->type_name("")
      ->required();
  return app;
}

int print_answer(const Console& console, const agent::Answer& answer,
                 const std::function<Result<std::string>(const nlohmann::json&)>& render) {
  if (!answer.ok()) return console.fail(*answer.problem);
  if (console.json) {
    console.print_json(answer.json);
    return kSuccess;
  }
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value) return console.fail(with_context(value.error(), "cannot read the server's answer"));
  const auto text = render(*value);
  if (!text) return console.fail(text.error());
  console.screen.print(*text);
  return kSuccess;
}

agent::Answer request_work(const Fleet& fleet, const std::string& path, const nlohmann::json& body,
                           const std::string& idempotency_key, bool waits, const char* unsure) {
  ServerApi::Query headers;
  if (!idempotency_key.empty()) headers.emplace_back("Idempotency-Key", idempotency_key);
  if (waits) {
    fleet.interrupts.set_leaves_at(2);
    fleet.interrupts.set_farewell(unsure);
  }
  return fleet.api.call("POST", path, {}, encode_json(body), headers);
}

int print_task(const Console& console, const agent::Answer& answer) {
  return print_answer(console, answer, [](const nlohmann::json& value) -> Result<std::string> {
    const auto view = read_task(value);
    if (!view) return view.error();
    return render_task(*view, now(), kFleetVerbs);
  });
}

Result<TaskView> task_of(const agent::Answer& answer) {
  const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value) return with_context(value.error(), "cannot read the server's answer");
  return read_task(*value);
}

void add_fleet(CLI::App& root, Console& console) {
  CLI::App* fleet =
      add_verb_group(root, "fleet", "Work with any device of a task server; no agent needed here");
  fleet->footer(
      "NODE is a device's id or its name. Task IDs may be shortened to their end; @last is the newest of the "
      "server.\n"
      "AGENTTASK_SERVER, AGENTTASK_TOKEN and AGENTTASK_CA (a file, or: system) take the place of a login;\n"
      "AGENTTASK_TOKEN alone, that of its token.\n\n"
      "Examples:\n"
      "  agenttask fleet login https://tasks.example:8443 --fingerprint 3f2a…\n"
      "  agenttask fleet nodes\n"
      "  agenttask fleet command web-1 --wait \"uptime\"\n"
      "  agenttask fleet command --label site=berlin --wait \"uptime\"");
  add_fleet_login(*fleet, console);
  add_fleet_submit(*fleet, console);
  add_fleet_batches(*fleet, console);
  add_fleet_look(*fleet, console);
  add_fleet_change(*fleet, console);
  add_fleet_steer(*fleet, console);
  add_fleet_nodes(*fleet, console);
  add_fleet_tokens(*fleet, console);
}

}  // namespace agenttask::console
