#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/choosing.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/message_view.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct Words {
  std::string option;
  std::string node;
  std::string room;
  std::string world;
  std::string text;
  std::string data;
  std::int64_t limit = 50;
  bool follow = false;
};

/// What the server answered, or what it says a moment later where the device has answered by then. An offline
/// device answers when it comes.
agent::Answer after_device(const Fleet& fleet, const std::string& id, agent::Answer answer,
                           const std::function<bool(const TaskView&)>& is_settled) {
  constexpr int kLooks = 20;
  constexpr std::chrono::milliseconds kPause{150};
  for (int look = 0; look < kLooks && answer.ok(); ++look) {
    const auto view = task_of(answer);
    // Where it can't even be reached, nothing comes within a moment.
    if (!view || is_settled(*view) || view->task.state.reason == reason::kDeviceOffline) break;
    std::this_thread::sleep_for(kPause);
    answer = fleet.api.call("GET", api_path({"tasks", id}));
  }
  return answer;
}

bool has_taken(const TaskView& view, const char* what) {
  return std::find(view.requested.begin(), view.requested.end(), what) == view.requested.end();
}

int choose(const Fleet& fleet, const Words& words, const std::string& id) {
  const agent::Answer asked = fleet.api.call("POST", api_path({"tasks", id, "choose"}), {},
                                             encode_json(json{{"option", words.option}}));
  const agent::Answer answer = after_device(fleet, id, asked, [](const TaskView& view) {
    return view.task.state.chosen.has_value() || !view.task.state.choice_requested.has_value();
  });
  if (!answer.ok() && answer.problem->code == "already-ended") {
    // Somebody else may have decided it.
    const agent::Answer ended = fleet.api.call("GET", api_path({"tasks", id}));
    const auto view = ended.ok() ? task_of(ended) : Result<TaskView>(Error{});
    if (view && view->task.state.chosen) {
      return finish_lost_choice(fleet.console, *answer.problem, *view->task.state.chosen);
    }
  }
  return finish_choice(fleet.console, answer, words.option);
}

int pause(const Fleet& fleet, const std::string& id, bool pauses) {
  const char* what = pauses ? "pause" : "resume";
  const agent::Answer answer = after_device(fleet, id, fleet.api.call("POST", api_path({"tasks", id, what})),
                                            [&](const TaskView& view) { return has_taken(view, what); });
  return finish_pause(fleet.console, answer, pauses);
}

int run_now(const Fleet& fleet, const std::string& id) {
  const agent::Answer answer = after_device(fleet, id, fleet.api.call("POST", api_path({"tasks", id, "run"})),
                                            [](const TaskView& view) { return has_taken(view, "run"); });
  return print_answer(fleet.console, answer, [](const json& value) -> Result<std::string> {
    const auto view = read_task(value);
    if (!view) return view.error();
    const bool waits = !has_taken(*view, "run");
    return "task " + view->task.spec.id +
           (waits ? " was asked to run; its device has not answered yet\n" : " runs now\n");
  });
}

ServerApi::Query message_query(const Words& words) {
  ServerApi::Query query{{"limit", std::to_string(words.limit)}};
  if (!words.room.empty()) query.emplace_back("roomId", words.room);
  if (!words.world.empty()) query.emplace_back("worldId", words.world);
  if (!words.node.empty()) query.emplace_back("node", words.node);
  return query;
}

bool has_news(const json& answer, const std::set<std::string>& printed) {
  const json* list = member_of(answer, "messages");
  return list != nullptr && list->is_array() && std::any_of(list->begin(), list->end(), [&](const json& one) {
           return !printed.contains(text_of(one, "id"));
         });
}

/// Asks again and again: the newest messages, and of those what was not printed yet.
int follow_messages(const Fleet& fleet, Words words) {
  constexpr std::chrono::seconds kPause{1};
  constexpr std::int64_t kLook = 200;  ///< that may come within a pause
  std::set<std::string> printed;
  while (true) {
    const agent::Answer answer = fleet.api.call("GET", api_path({"messages"}), message_query(words));
    if (!answer.ok()) return fleet.console.fail(*answer.problem);
    auto value = parse_json(answer.json, limits::kJsonDepth + 16);
    if (value && has_news(*value, printed) && !fleet.console.json) {
      put_node_names(fleet.api, *value, "messages");
    }
    const json* list = value ? member_of(*value, "messages") : nullptr;
    if (list == nullptr || !list->is_array()) {
      return fleet.console.fail(Error{ErrorCode::invalid, "the answer holds no list of messages"});
    }
    std::set<std::string> seen;
    for (auto message = list->rbegin(); message != list->rend(); ++message) {  // they come newest first
      const std::string id = text_of(*message, "id");
      seen.insert(id);
      if (printed.contains(id)) continue;
      const auto shown = fleet.console.json ? Result<std::string>(encode_json(*message) + "\n")
                                            : render_message(*message, Author::shown);
      if (shown && !fleet.console.screen.print(*shown)) return kNobodyReads;
    }
    printed = std::move(seen);
    words.limit = kLook;
    std::this_thread::sleep_for(kPause);  // Ctrl-C leaves at once
  }
}

int messages(const Fleet& fleet, const Words& words) {
  if (words.follow) return follow_messages(fleet, words);
  return print_answer(fleet.console, fleet.api.call("GET", api_path({"messages"}), message_query(words)),
                      [&](json answer) {
                        put_node_names(fleet.api, answer, "messages");
                        return render_messages(answer, Author::shown);
                      });
}

int post(const Fleet& fleet, const Words& words) {
  auto content = message_content(words.text, words.data);
  if (!content) return fleet.console.fail(content.error());
  json body{{"roomId", words.room}, {"content", std::move(*content)}};
  if (!words.world.empty()) body["worldId"] = words.world;
  return print_answer(fleet.console, fleet.api.call("POST", api_path({"messages"}), {}, encode_json(body)),
                      [](const json& answer) { return render_message(answer, Author::shown); });
}

void add_rooms(CLI::App& fleet, Console& console, const std::shared_ptr<Words>& words) {
  CLI::App* verb = add_fleet_verb(fleet, console,
                                  {"messages", "Read what workers and people posted to rooms",
                                   "  agenttask fleet messages --room team\n"
                                   "  agenttask fleet messages --world berlin --json\n"
                                   "  agenttask fleet messages --node web-1 --follow\n"
                                   "The newest stands last; with --json first, as in every list of the API."},
                                  [words](const Fleet& at) { return messages(at, *words); });
  verb->add_option("--room", words->room, "Of this room only")->type_name("ID");
  verb->add_option("--world", words->world, "Of this world only")->type_name("ID");
  verb->add_option("--node", words->node, "Of this device only: its id or its name")->type_name("NODE");
  allow_range(*verb->add_option("--limit", words->limit, "How many, the newest (default 50)")->type_name("N"),
              1, limits::kPageMost);
  verb->add_flag("--follow", words->follow, "Go on with what is posted, until Ctrl-C");

  verb = add_fleet_verb(fleet, console,
                        {"post", "Post a message to a room",
                         "  agenttask fleet post team \"The window ends at 18:00\"\n"
                         "  agenttask fleet post team --data '{\"text\":\"done\",\"files\":12}'"},
                        [words](const Fleet& at) { return post(at, *words); });
  verb->add_option("ROOM", words->room, "The room: any name")->type_name("")->required();
  verb->add_option("TEXT", words->text, "What to say")->type_name("");
  verb->add_option("--data", words->data, "In place of a text: a JSON object, @FILE or -")->type_name("JSON");
  verb->add_option("--world", words->world, "The world that it belongs to")->type_name("ID");
}

}  // namespace

void add_fleet_steer(CLI::App& fleet, Console& console) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb = add_fleet_task_verb(
      fleet, console,
      {"choose", "Answer the question of a task; the first answer that its device gets counts",
       "  agenttask fleet choose 4f2a confirm\n"
       "  agenttask fleet list --awaiting\n"
       "Exit codes: 0 it counts, or the device has still to say; 1 somebody else was first; "
       "125 it could not\n"
       "be chosen."},
      [words](const Fleet& at, const std::string& id) { return choose(at, *words, id); });
  verb->add_option("OPTION", words->option, "The name of the choice")->type_name("")->required();

  add_fleet_task_verb(fleet, console,
                      {"pause", "Start no more runs of a task until it is resumed; a run goes on",
                       "  agenttask fleet pause 4f2a"},
                      [](const Fleet& at, const std::string& id) { return pause(at, id, true); });
  add_fleet_task_verb(
      fleet, console,
      {"resume", "Let a paused task go on, at the next point of its grid", "  agenttask fleet resume 4f2a"},
      [](const Fleet& at, const std::string& id) { return pause(at, id, false); });
  add_fleet_task_verb(fleet, console,
                      {"run", "Run a task once now, besides its schedule",
                       "  agenttask fleet run 4f2a\n"
                       "Its output: agenttask fleet output ID --follow."},
                      run_now);
  add_rooms(fleet, console, words);
}

}  // namespace agenttask::console
