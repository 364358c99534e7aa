#include "agent/console/list_words.hpp"

#include <CLI/CLI.hpp>

#include "platform/protocol/limits.hpp"

namespace agenttask::console {

void add_list_options(CLI::App& verb, ListWords& words) {
  verb.add_option("--type", words.type, "Of this type")->type_name("TYPE");
  CLI::Option* status =
      verb.add_option("--status", words.status,
                      "In this state: pending, sent, awaiting_choice, running, complete, failed, cancelled")
          ->type_name("STATUS");
  allow_only(*status, {"pending", "sent", "awaiting_choice", "running", "complete", "failed", "cancelled"});
  verb.add_flag("--awaiting", words.awaiting, "Those that wait for a choice, with what there is to choose")
      ->excludes(status);
  verb.add_flag("--deleted", words.deleted, "Those that were deleted, until their retention ends");
  verb.add_option("--tag", words.tags, "With this tag; several: with all of them")
      ->type_name("TAG")
      ->allow_extra_args(false);
  verb.add_option("--room", words.room, "Of this room")->type_name("ID");
  verb.add_option("--world", words.world, "Of this world")->type_name("ID");
  allow_range(
      *verb.add_option("--limit", words.limit, "How many, the newest first (default 50)")->type_name("N"), 1,
      limits::kPageMost);
  verb.add_option("--cursor", words.cursor, "Go on where another list ended (its nextCursor)")
      ->type_name("CURSOR");
}

std::vector<std::pair<std::string, std::string>> filters(const ListWords& words) {
  std::vector<std::pair<std::string, std::string>> list;
  const auto put = [&](const char* name, const std::string& value) {
    if (!value.empty()) list.emplace_back(name, value);
  };
  put("type", words.type);
  put("status", words.awaiting ? "awaiting_choice" : words.status);
  for (const std::string& tag : words.tags) put("tag", tag);
  put("roomId", words.room);
  put("worldId", words.world);
  if (words.deleted) put("deleted", "true");
  put("limit", std::to_string(words.limit));
  put("cursor", words.cursor);
  return list;
}

}  // namespace agenttask::console
