#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/choosing.hpp"
#include "agent/console/console.hpp"

namespace agenttask::console {

void add_choose(CLI::App& root, Console& console) {
  struct Words {
    std::string id;
    std::string option;
  };
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"choose", "Answer the question of a task; the first answer counts",
       "  agenttask choose 4f2a confirm\n"
       "  agenttask list --awaiting       # what waits for a choice, and between what\n"
       "Who may run tasks may choose; for a task whose chooser is user, whoever is logged in.\n"
       "Exit codes: 0 it counts; 1 somebody else, or the default, was first; 125 it could not be chosen."},
      [&console, words] {
        return finish_choice(
            console, ask(console, "chooseTask", nlohmann::json{{"id", words->id}, {"option", words->option}}),
            words->option);
      });
  add_task_id(*verb, words->id);
  verb->add_option("OPTION", words->option, "The name of the choice")->type_name("")->required();
}

}  // namespace agenttask::console
