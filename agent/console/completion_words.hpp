#pragma once
#include <string>
#include <vector>

#include "agent/console/console.hpp"

namespace agenttask::console {

/// What may stand in place of the last of the words typed after `agenttask`, as far as the agent knows it:
/// ids of tasks, names of choices, types, services; those that begin with it. Verbs and options are not among
/// them. Nothing where no agent answers at once. Never waits, never fails: it is asked at each key.
[[nodiscard]] std::vector<std::string> known_words(const Console& console, const CLI::App& root,
                                                   const std::vector<std::string>& typed);

}  // namespace agenttask::console
