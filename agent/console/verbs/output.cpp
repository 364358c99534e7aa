#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/kept_output.hpp"
#include "agent/console/local_follow.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string id;
  std::int64_t run = 0;  ///< 0: the last
  bool follow = false;
};

int follow(const Console& console, const Words& words) {
  Interrupts interrupts;
  const FollowEnd end = follow_local(console, interrupts, {"watch", OnInterruptKey::detach, true, true},
                                     json{{"id", words.id}});
  if (console.json && end.view) console.print_json(R"({"event":"end","task":)" + end.json + "}");
  return finish_follow(console, end);
}

}  // namespace

void add_output(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(
      root, console,
      {"output", "Print what a run of a task wrote, as it was written",
       "  agenttask output 4f2a > output.txt\n"
       "  agenttask output @last --run 2\n"
       "  agenttask output @last --follow\n"
       "Standard output and standard error go where they went. What is kept is bounded by "
       "--max-output."},
      [&console, words] {
        return words->follow ? follow(console, *words) : print_kept_output(console, words->id, words->run);
      });
  add_task_id(*verb, words->id);
  CLI::Option* run =
      verb->add_option("--run", words->run, "Of this run, as agenttask runs numbers them (default: the last)")
          ->type_name("RUN");
  allow_range(*run, 1, INT64_MAX);
  verb->add_flag(
          "--follow", words->follow,
          "All of its runs from the beginning until it has ended, and exit as it did; Ctrl-C leaves it")
      ->excludes(run);
}

}  // namespace agenttask::console
