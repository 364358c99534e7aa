#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"

namespace agenttask::console {

void add_hold(CLI::App& root, Console& console) {
  add_agent_verb(
      root, console,
      {"hold", "Start nothing new on this device; what runs goes on",
       "  agenttask hold\n"
       "Tasks are still taken in and wait (held). It lasts, across restarts, until agenttask release,\n"
       "or until an operator releases the device."},
      [&console] {
        return ask_and_print(
            console, "hold", nlohmann::json::object(),
            [](const nlohmann::json& answer) -> Result<std::string> {
              const auto running = answer.find("running");
              const std::size_t count = running != answer.end() && running->is_array() ? running->size() : 0;
              std::string text = "the device starts nothing new";
              if (count != 0) {
                text += "; " + std::to_string(count) + (count == 1 ? " task goes on" : " tasks go on");
              }
              return text + "\n";
            });
      });
}

}  // namespace agenttask::console
