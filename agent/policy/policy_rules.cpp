#include <algorithm>

#include <nlohmann/json.hpp>

#include "agent/policy/policy.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kMostTypes = 1000;
constexpr std::size_t kMostCommands = 10'000;
constexpr std::size_t kMostUsers = 1000;
constexpr std::size_t kArgumentBytes = 128 * 1024;

Error denied(std::string rule) {
  return Error{ErrorCode::denied, std::move(rule)};
}

template <class List, class Item>
bool holds(const List& list, const Item& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

std::vector<std::vector<std::string>> read_commands(ObjectReader& reader, const nlohmann::json& list) {
  std::vector<std::vector<std::string>> commands;
  for (const auto& item : list) {
    // Each list is read as the one member of an object, with the same checks as everything else.
    const nlohmann::json wrapped = {{"argv", item}};
    ObjectReader command(wrapped, ObjectReader::Unknown::refuse, "command.argv");
    auto argv = command.texts("argv", limits::kArguments, kArgumentBytes);
    if (auto error = command.finish()) {
      reader.refuse(*error);
      return commands;
    }
    if (!argv || argv->empty()) {
      reader.refuse("argv", "is a list of lists, each with a program and its arguments");
      return commands;
    }
    commands.push_back(std::move(*argv));
  }
  return commands;
}

Result<void> check_command(const PolicyRules& rules, const TaskSpec& spec) {
  const auto command = parse_command_data(spec.data);
  // What can't be read is refused as invalid elsewhere, but it never passes here.
  if (!command) return denied("the command can't be checked against it: " + command.error().message);
  const bool open = !rules.argv.has_value();
  if (!command->cmd.empty() && !rules.shell.value_or(open))
    return denied("it allows no shell lines (command.shell)");
  if (!command->argv.empty() && !open && !holds(*rules.argv, command->argv)) {
    return denied("it does not list this argv (command.argv)");
  }
  if (!command->env.empty() && !rules.env.value_or(open)) {
    return denied("it does not let a task set variables (command.env)");
  }
  if (!command->run_as.empty() && rules.run_as && !holds(*rules.run_as, command->run_as)) {
    return denied("it does not let a task run as " + command->run_as + " (command.runAs)");
  }
  if (spec.options.outlives_agent && !rules.outlives_agent.value_or(open)) {
    return denied("it does not let a command outlive the agent (command.outlivesAgent)");
  }
  return {};
}

Result<void> check_service(const PolicyRules& rules, const TaskSpec& spec) {
  if (!rules.services) return {};
  const auto call = parse_service_data(spec.data);
  if (!call) return denied("the call can't be checked against it: " + call.error().message);
  if (holds(*rules.services, call->service)) return {};
  return denied("it does not allow calls of the service " + call->service + " (services)");
}

}  // namespace

Result<PolicyRules> parse_policy(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return value.error();
  PolicyRules rules;
  ObjectReader reader(*value, ObjectReader::Unknown::refuse);
  rules.types = reader.texts("types", kMostTypes, limits::kTypeBytes, 1);
  rules.services = reader.texts("services", kMostTypes, limits::kTypeBytes, 1);
  if (const auto* object = reader.object("command")) {
    ObjectReader command(*object, ObjectReader::Unknown::refuse, "command");
    if (const auto* list = command.array("argv", kMostCommands)) rules.argv = read_commands(command, *list);
    rules.shell = command.boolean("shell");
    rules.env = command.boolean("env");
    rules.outlives_agent = command.boolean("outlivesAgent");
    rules.run_as = command.texts("runAs", kMostUsers, 256, 1);
    if (auto error = command.finish()) reader.refuse(*error);
  }
  if (auto error = reader.finish()) return *error;
  return rules;
}

Result<void> check_rules(const PolicyRules& rules, const TaskSpec& spec) {
  if (rules.types && !holds(*rules.types, spec.type)) {
    return denied("it does not allow tasks of type " + spec.type + " (types)");
  }
  if (spec.type == "command") return check_command(rules, spec);
  if (spec.type == "service") return check_service(rules, spec);
  return {};
}

}  // namespace agenttask::agent
