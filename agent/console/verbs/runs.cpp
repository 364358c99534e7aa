#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/kept_output.hpp"
#include "agent/console/task_list.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string id;
  std::int64_t output_of = 0;
};

int runs(const Console& console, const Words& words) {
  if (words.output_of != 0) return print_kept_output(console, words.id, words.output_of);
  return ask_and_print(console, "getRuns", json{{"id", words.id}},
                       [&](const json& answer) { return render_run_list(answer, console.screen, now()); });
}

}  // namespace

void add_runs(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb =
      add_agent_verb(root, console,
                     {"runs", "List every run of a task with its outcome, or print the output of one",
                      "  agenttask runs 4f2a\n"
                      "  agenttask runs @last --output 1 > first.txt\n"
                      "The newest run stands last; with --json first, as in every list of the API."},
                     [&console, words] { return runs(console, *words); });
  add_task_id(*verb, words->id);
  allow_range(*verb->add_option("--output", words->output_of, "Print what this run left of its output")
                   ->type_name("RUN"),
              1, INT64_MAX);
}

}  // namespace agenttask::console
