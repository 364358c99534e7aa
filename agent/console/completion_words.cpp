#include "agent/console/completion_words.hpp"

#include <algorithm>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/offered_services.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

constexpr int kTasks = 50;  ///< the newest

/// How far the command line is: which verb, what stands before the word that is being typed.
struct Typed {
  const CLI::App* verb = nullptr;
  Words places;        ///< the words that are no options, after the verb
  std::string option;  ///< whose value is being typed; empty: none
  std::string current;
  std::string state_folder;
};

bool takes_value(const CLI::Option* option) {
  return option != nullptr && option->get_items_expected_max() > 0;
}

const CLI::App* verb_below(const CLI::App& app, const std::string& name) {
  const auto verbs = app.get_subcommands([&](const CLI::App* verb) { return verb->get_name() == name; });
  return verbs.empty() ? nullptr : verbs.front();
}

Typed read(const CLI::App& root, const Words& words) {
  Typed typed;
  typed.verb = &root;
  if (!words.empty()) typed.current = words.back();
  for (std::size_t index = 0; index + 1 < words.size(); ++index) {
    const std::string& word = words[index];
    if (word == "=" && !typed.option.empty()) continue;  // bash takes --like=4f2a apart
    if (!typed.option.empty()) {
      if (typed.option == "--state-dir") typed.state_folder = word;
      typed.option.clear();
    } else if (word.starts_with("-")) {
      const bool has_value = word.find('=') != std::string::npos;
      const auto* option = typed.verb->get_option_no_throw(word);
      if (!has_value && takes_value(option)) typed.option = word;
    } else if (const auto* verb = verb_below(*typed.verb, word); verb != nullptr && typed.places.empty()) {
      typed.verb = verb;
    } else {
      typed.places.push_back(word);
    }
  }
  return typed;
}

std::optional<json> ask_at_once(const Console& console, const char* call, const json& arguments) {
  auto client = connect_at_once(console);
  if (!client) return std::nullopt;
  const agent::Answer answer = client->call(call, encode_json(arguments));
  if (!answer.ok()) return std::nullopt;
  auto value = parse_json(answer.json, limits::kJsonDepth + 16);
  if (!value || !value->is_object()) return std::nullopt;
  return std::optional<json>(std::in_place, std::move(*value));
}

Words ids_of_tasks(const Console& console, const json& filter) {
  Words ids;
  const auto answer = ask_at_once(console, "getTasks", filter);
  const json* tasks = answer ? member_of(*answer, "tasks") : nullptr;
  if (tasks == nullptr || !tasks->is_array()) return ids;
  for (const json& task : *tasks) ids.push_back(text_of(task, "id"));
  return ids;
}

Words choices_of(const Console& console, const std::string& id) {
  Words names;
  const auto task = ask_at_once(console, "getTask", json{{"id", id}});
  const json* choices = task ? member_of(*task, "choices") : nullptr;
  if (choices == nullptr || !choices->is_array()) return names;
  for (const json& choice : *choices) names.push_back(text_of(choice, "name"));
  return names;
}

Words offered(const Console& console, const char* what) {
  const auto workers = ask_at_once(console, "getWorkers", json::object());
  return workers ? names_offered(*workers, what) : Words();
}

Words all_words(const Console& console, const CLI::App& root, const Typed& typed) {
  const json newest{{"limit", kTasks}};
  if (typed.option == "--like" || typed.option == "--type") {
    return typed.option == "--type" ? offered(console, "types") : ids_of_tasks(console, newest);
  }
  if (!typed.option.empty() || typed.verb->get_parent() != &root) return {};
  const std::string verb = typed.verb->get_name();
  if (verb == "choose" && typed.places.size() == 1) return choices_of(console, typed.places.front());
  if (!typed.places.empty()) return {};
  if (verb == "choose") return ids_of_tasks(console, json{{"limit", kTasks}, {"status", "awaiting_choice"}});
  if (verb == "add") return offered(console, "types");
  if (verb == "service") return offered(console, "services");
  const auto* id = typed.verb->get_option_no_throw("ID");
  if (id == nullptr) return {};
  Words words = ids_of_tasks(console, newest);
  words.insert(words.begin(), "@last");
  return words;
}

/// One that a line can hold, and that begins as what was typed.
bool fits(const std::string& word, const std::string& current) {
  const bool plain = std::none_of(word.begin(), word.end(),
                                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return plain && !word.empty() && word.starts_with(current);
}

}  // namespace

std::vector<std::string> known_words(const Console& console, const CLI::App& root, const Words& typed) {
  const Typed line = read(root, typed);
  if (line.current.starts_with("-")) return {};
  Console there = console;
  if (!line.state_folder.empty()) there.state_folder = line.state_folder;
  Words words = all_words(there, root, line);
  std::erase_if(words, [&](const std::string& word) { return !fits(word, line.current); });
  return words;
}

}  // namespace agenttask::console
