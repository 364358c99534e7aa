#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/local_follow.hpp"
#include "agent/console/task_words.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::optional<std::string> text;
  std::string data;
};

/// The message alone where that is what was sent; the whole value otherwise.
std::string echoed(const TaskView& view, bool as_json) {
  const auto data = parse_json(view.result.data);
  if (!as_json && data && data->is_object()) {
    const auto message = data->find("message");
    if (message != data->end() && message->is_string()) return message->get<std::string>();
  }
  return view.result.data;
}

int echo(const Console& console, const Words& words) {
  std::optional<std::string> text = words.text;
  for (const std::string& word : console.rest.value_or(std::vector<std::string>())) {
    text = text ? *text + " " + word : word;
  }
  const bool as_json = !words.data.empty();
  if (as_json == text.has_value()) {
    return console.fail(Error{ErrorCode::invalid, "say what to echo: a text, or --data with a JSON object"});
  }
  json data{{"message", text.value_or("")}};
  if (as_json) {
    auto given = data_argument(words.data);
    if (!given) return console.fail(with_context(given.error(), "--data"));
    data = std::move(*given);
  }
  Interrupts interrupts;
  const json arguments{{"task", {{"type", "echo"}, {"data", std::move(data)}}}, {"follow", true}};
  const FollowEnd end =
      follow_local(console, interrupts, {"createTask", OnInterruptKey::cancel, false}, arguments);
  if (end.view && end.view->task.state.status == TaskStatus::complete && !console.json) {
    console.screen.print(echoed(*end.view, as_json) + "\n");
  }
  if (console.json && end.view) console.print_json(end.json);
  return finish_follow(console, end);
}

}  // namespace

void add_echo(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(root, console,
                                  {"echo", "Send a text through a task and print what comes back",
                                   "  agenttask echo \"test data\"\n"
                                   "  agenttask echo --data '{\"n\":9007199254740993}'",
                                   true},
                                  [&console, words] { return echo(console, *words); });
  verb->add_option("TEXT", words->text, "What to echo")->type_name("");
  verb->add_option("--data", words->data, "A JSON object instead, @FILE or -")->type_name("JSON");
}

}  // namespace agenttask::console
