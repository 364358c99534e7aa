#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "agent/console/console.hpp"

namespace agenttask::console {

/// Which tasks a list shows, as typed; the same on the device and with fleet.
struct ListWords {
  std::string type;
  std::string status;
  bool awaiting = false;  ///< those that wait for a choice, with their questions
  bool deleted = false;   ///< those that were deleted, and no others
  std::vector<std::string> tags;
  std::string room;
  std::string world;
  std::int64_t limit = 50;
  std::string cursor;
};
void add_list_options(CLI::App& verb, ListWords& words);

/// As pairs of name and value, `tag` once for each tag.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> filters(const ListWords& words);

}  // namespace agenttask::console
