#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/local_follow.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

int watch(const Console& console, const std::string& id) {
  Interrupts interrupts;
  const FollowEnd end = follow_local(console, interrupts, {"watch", OnInterruptKey::detach, true, true},
                                     nlohmann::json{{"id", id}});
  if (console.json && end.view) console.print_json(R"({"event":"end","task":)" + end.json + "}");
  return finish_follow(console, end);
}

}  // namespace

void add_watch(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb =
      add_agent_verb(root, console,
                     {"watch", "Print the output of a task from its beginning until it ends",
                      "  agenttask watch 4f2a\n"
                      "  agenttask watch @last > output.txt\n"
                      "Ctrl-C leaves the task as it is. The exit code is that of the task, as with "
                      "agenttask command."},
                     [&console, id] { return watch(console, *id); });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
