#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/explanation.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/kept_output.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

/// What the last run of a task that failed wrote at its end.
std::string last_words(const Console& console, const json& answer) {
  const json* task = member_of(answer, "task");
  if (task == nullptr || text_of(*task, "status") != "failed") return {};
  if (integer_of(*task, "runCount").value_or(0) == 0) return {};
  auto client = connect(console);
  if (!client) return {};
  const std::string id = text_of(*task, "id");
  return last_output(*client, id).last_words(id, kLocalVerbs);
}

int explain_task(const Console& console, const std::string& id) {
  return ask_and_print(console, "explainTask", {{"id", id}}, [&](const json& answer) -> Result<std::string> {
    auto text = explain(answer, now());
    if (!text) return text;
    return *text + last_words(console, answer);
  });
}

}  // namespace

void add_explain(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb = add_agent_verb(root, console,
                                  {"explain", "Say why a task waits, or why it ended as it did",
                                   "  agenttask explain 4f2a\n"
                                   "  agenttask explain @last"},
                                  [&console, id] { return explain_task(console, *id); });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
