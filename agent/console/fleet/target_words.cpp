#include "agent/console/fleet/target_words.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace agenttask::console {

using nlohmann::json;

void add_target_options(CLI::App& verb, TargetWords& words) {
  constexpr const char* kGroup = "For many devices, in place of NODE";
  auto* all = verb.add_flag("--all", words.all, "Every device of the server")->group(kGroup);
  auto* label = verb.add_option("--label", words.labels, "Those with this label; several: with all of them")
                    ->type_name("KEY=VALUE")
                    ->allow_extra_args(false)
                    ->group(kGroup);
  auto* node = verb.add_option("--node", words.nodes, "This one; several: each of them")
                   ->type_name("NODE")
                   ->allow_extra_args(false)
                   ->group(kGroup);
  all->excludes(label)->excludes(node);
  label->excludes(node);
  verb.add_flag("--dry-run", words.dry_run, "List the devices that it would be for, and enqueue nothing")
      ->group(kGroup);
}

Result<json> target_of(const TargetWords& words) {
  if (words.all) return json{{"all", true}};
  if (!words.nodes.empty()) return json{{"nodes", words.nodes}};
  json labels = json::object();
  for (const std::string& label : words.labels) {
    const std::size_t mark = label.find('=');
    if (mark == std::string::npos || mark == 0) {
      return Error{ErrorCode::invalid, "--label: '" + label + "' is not KEY=VALUE"};
    }
    const auto [at, fresh] = labels.emplace(label.substr(0, mark), label.substr(mark + 1));
    if (!fresh && *at != label.substr(mark + 1)) {
      return Error{ErrorCode::invalid,
                   "--label: no device has two values of " + label.substr(0, mark) + " at once"};
    }
  }
  return json{{"labels", std::move(labels)}};
}

}  // namespace agenttask::console
