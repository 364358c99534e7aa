#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/list_words.hpp"
#include "agent/console/task_list.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

int list(const Console& console, const ListWords& words, bool full) {
  json arguments{{"limit", words.limit}, {"full", full || !console.json}};
  for (const auto& [name, value] : filters(words)) {
    if (name == "tag") {
      arguments["tag"].push_back(value);
    } else if (name == "deleted") {
      arguments[name] = true;
    } else if (name != "limit") {
      arguments[name] = value;
    }
  }
  return ask_and_print(console, "getTasks", arguments, [&](const json& answer) {
    return render_task_list(answer, console.screen, {false, words.awaiting}, now());
  });
}

}  // namespace

void add_list(CLI::App& root, Console& console) {
  const auto words = std::make_shared<ListWords>();
  const auto full = std::make_shared<bool>(false);
  CLI::App* verb = add_agent_verb(root, console,
                                  {"list", "List the tasks of this device, the newest first",
                                   "  agenttask list\n"
                                   "  agenttask list --status failed --tag nightly\n"
                                   "  agenttask list --awaiting\n"
                                   "  agenttask list --deleted\n"
                                   "  agenttask list --json | jq -r '.tasks[].id'\n"
                                   "Who may not run or view tasks here sees those that wait for a choice of "
                                   "whoever is logged in."},
                                  [&console, words, full] { return list(console, *words, *full); });
  add_list_options(*verb, *words);
  verb->add_flag("--full", *full, "With --json: also data and result");
}

}  // namespace agenttask::console
