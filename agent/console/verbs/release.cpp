#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/json_access.hpp"

namespace agenttask::console {
namespace {

std::string describe_release(const nlohmann::json& answer) {
  if (!flag_of(answer, "wasHeld")) return "the device was not on hold\n";
  const std::string who = text_of(answer, "wasHeldBy");
  if (who == "device") return "the device starts tasks again: the hold set on it is lifted\n";
  if (who == "operator") {
    return "the device starts tasks again: the hold that an operator of the server set is lifted\n";
  }
  return "the device starts tasks again\n";
}

}  // namespace

void add_release(CLI::App& root, Console& console) {
  add_agent_verb(
      root, console,
      {"release", "Let the device start tasks again after a hold",
       "  agenttask release\n"
       "It lifts any hold, also one that an operator set from the server (agenttask status says whose "
       "it is)."},
      [&console] {
        return ask_and_print(console, "release", nlohmann::json::object(), [](const nlohmann::json& answer) {
          return Result<std::string>(describe_release(answer));
        });
      });
}

}  // namespace agenttask::console
