#pragma once
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// For which devices a task is, as typed, where it is for many.
struct TargetWords {
  bool all = false;
  std::vector<std::string> labels;
  std::vector<std::string> nodes;
  bool dry_run = false;

  [[nodiscard]] bool given() const { return all || !labels.empty() || !nodes.empty(); }
};
void add_target_options(CLI::App& verb, TargetWords& words);

/// The `target` of a request. `invalid` names the option at fault.
[[nodiscard]] Result<nlohmann::json> target_of(const TargetWords& words);

}  // namespace agenttask::console
