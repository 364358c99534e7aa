#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/task_view.hpp"

namespace agenttask::console {

void add_show(CLI::App& root, Console& console) {
  const auto id = std::make_shared<std::string>();
  CLI::App* verb =
      add_agent_verb(root, console,
                     {"show", "Show all that is known of a task, its result included",
                      "  agenttask show 4f2a\n"
                      "  agenttask show @last --json"},
                     [&console, id] {
                       return ask_and_print(console, "getTask", nlohmann::json{{"id", *id}},
                                            [](const nlohmann::json& answer) -> Result<std::string> {
                                              const auto view = read_task(answer);
                                              if (!view) return view.error();
                                              return render_task(*view, now());
                                            });
                     });
  add_task_id(*verb, *id);
}

}  // namespace agenttask::console
