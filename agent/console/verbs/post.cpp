#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/message_view.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string room;
  std::string text;
  std::string world;
  std::string data;
};

int post(const Console& console, const Words& words) {
  auto content = message_content(words.text, words.data);
  if (!content) return console.fail(content.error());
  json arguments{{"roomId", words.room}, {"content", std::move(*content)}};
  if (!words.world.empty()) arguments["worldId"] = words.world;
  return ask_and_print(console, "createMessage", arguments,
                       [](const json& answer) { return render_message(answer); });
}

}  // namespace

void add_post(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_agent_verb(root, console,
                                  {"post", "Post a message to a room, as workers do",
                                   "  agenttask post team \"The backup is done\"\n"
                                   "  agenttask post team --data '{\"text\":\"done\",\"files\":12}'\n"
                                   "It is kept here and told to the server."},
                                  [&console, words] { return post(console, *words); });
  verb->add_option("ROOM", words->room, "The room: any name")->type_name("")->required();
  verb->add_option("TEXT", words->text, "What to say")->type_name("");
  verb->add_option("--data", words->data, "In place of a text: a JSON object, @FILE or -")->type_name("JSON");
  verb->add_option("--world", words->world, "The world that it belongs to")->type_name("ID");
}

}  // namespace agenttask::console
