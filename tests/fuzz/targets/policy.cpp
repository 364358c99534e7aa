// The policy file, and whether what it forbids can pass.
#include "agent/policy/policy.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

/// Everything that a rule keeps out, said a second time.
void hold_allowed(const agent::PolicyRules& rules, const TaskSpec& spec) {
  const auto listed = [](const auto& list, const auto& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
  };
  if (rules.types) hold(listed(*rules.types, spec.type), "only listed types pass");
  if (spec.type != "command") return;
  const auto command = parse_command_data(spec.data);
  hold(static_cast<bool>(command), "only a command that can be read passes");
  if (!command->cmd.empty())
    hold(rules.shell.value_or(!rules.argv), "shell lines pass where they are allowed");
  if (!command->argv.empty() && rules.argv)
    hold(listed(*rules.argv, command->argv), "only listed commands pass");
  if (!command->env.empty()) hold(rules.env.value_or(!rules.argv), "variables pass where they are allowed");
  if (!command->run_as.empty() && rules.run_as)
    hold(listed(*rules.run_as, command->run_as), "only listed users");
}

}  // namespace

void policy(std::string_view bytes) {
  std::string_view rest = bytes;
  const auto rules = agent::parse_policy(take_line(rest));
  if (!rules) return hold_refusal(rules.error());
  const auto body = read_json(rest);
  if (!body) return;
  TaskSpec spec;
  if (auto asked = parse_task_request(*body)) {
    spec = *std::move(asked);
  } else {
    spec.type = "command";  // what can't be read must not pass either
    spec.data = encode_json(*body);
  }
  const auto checked = agent::check_rules(*rules, spec);
  if (checked) return hold_allowed(*rules, spec);
  hold(checked.error().code == ErrorCode::denied && !checked.error().message.empty(),
       "a rule says what it forbids");
}

}  // namespace agenttask::fuzz
