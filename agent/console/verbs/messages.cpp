#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/interrupts.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/message_view.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
using Next = agent::ConsoleClient::Next;

struct Words {
  std::string room;
  std::string world;
  std::int64_t limit = 50;
  bool follow = false;
};

int follow(const Console& console, const json& arguments) {
  auto client = connect(console);
  if (!client) return console.fail(client.error());
  const Interrupts interrupts;
  constexpr std::chrono::milliseconds kTick{100};
  bool nobody_reads = false;
  const agent::Answer answer =
      client->follow("getMessages", encode_json(arguments), kTick, [&](std::string_view text) {
        if (interrupts.count() > 0) return Next::leave;
        if (text.empty()) return Next::go_on;
        const auto event = parse_json(text);
        const json* message = event ? member_of(*event, "message") : nullptr;
        if (message == nullptr) return Next::go_on;
        const auto shown =
            console.json ? Result<std::string>(encode_json(*message) + "\n") : render_message(*message);
        nobody_reads = shown && !console.screen.print(*shown);
        return nobody_reads ? Next::leave : Next::go_on;
      });
  if (nobody_reads) return kNobodyReads;
  if (interrupts.count() > 0) return kSuccess;
  return answer.ok() ? kSuccess : console.fail(*answer.problem);
}

int messages(const Console& console, const Words& words) {
  json arguments{{"limit", words.limit}};
  if (!words.room.empty()) arguments["roomId"] = words.room;
  if (!words.world.empty()) arguments["worldId"] = words.world;
  if (!words.follow)
    return ask_and_print(console, "getMessages", arguments,
                         [](const json& answer) { return render_messages(answer); });
  arguments["follow"] = true;
  return follow(console, arguments);
}

}  // namespace

void add_messages(CLI::App& root, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb =
      add_agent_verb(root, console,
                     {"messages", "Read what workers and people on this device posted to rooms",
                      "  agenttask messages\n"
                      "  agenttask messages --room team --follow\n"
                      "The newest stands last. With --follow and --json each message is a line."},
                     [&console, words] { return messages(console, *words); });
  verb->add_option("--room", words->room, "Of this room only")->type_name("ID");
  verb->add_option("--world", words->world, "Of this world only")->type_name("ID");
  allow_range(*verb->add_option("--limit", words->limit, "How many, the newest (default 50)")->type_name("N"),
              1, limits::kPageMost);
  verb->add_flag("--follow", words->follow, "Go on with what is posted, until Ctrl-C");
}

}  // namespace agenttask::console
