#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/output_printer.hpp"
#include "agent/console/task_list.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string id;
  std::int64_t output_of = 0;
};

/// The kept output of one run, byte for byte.
int print_output(const Console& console, const Words& words) {
  auto client = connect(console);
  if (!client) return console.fail(client.error());
  OutputPrinter printer(console.screen);
  const agent::Answer answer = client->follow(
      "getOutput", encode_json(json{{"id", words.id}, {"run", words.output_of}}), std::chrono::seconds(60),
      [&](std::string_view text) {
        using Next = agent::ConsoleClient::Next;
        if (text.empty()) return Next::go_on;
        if (console.json) return console.screen.print(std::string(text) + "\n") ? Next::go_on : Next::leave;
        const auto event = parse_json(text);
        const auto chunk = event ? chunk_from_json(*event) : Result<OutputChunk>(event.error());
        if (!chunk) return Next::go_on;
        return printer.print(words.output_of, *chunk) ? Next::go_on : Next::leave;
      });
  return answer.ok() ? kSuccess : console.fail(*answer.problem);
}

int runs(const Console& console, const Words& words) {
  if (words.output_of != 0) return print_output(console, words);
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
