#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"

namespace agenttask::console {

void add_release(CLI::App& root, Console& console) {
  add_agent_verb(
      root, console, {"release", "Let the device start tasks again after a hold", "  agenttask release"},
      [&console] {
        return ask_and_print(console, "release", nlohmann::json::object(), [](const nlohmann::json&) {
          return Result<std::string>("the device starts tasks again\n");
        });
      });
}

}  // namespace agenttask::console
