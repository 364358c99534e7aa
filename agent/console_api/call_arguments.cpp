#include "agent/console_api/call_arguments.hpp"

#include <nlohmann/json.hpp>

#include "platform/protocol/object_reader.hpp"

namespace agenttask::agent {

Result<IdArgument> read_id(const nlohmann::json& arguments, bool with_output) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  IdArgument result{reader.text("id", kIdBytes, 1).value_or("")};
  if (with_output) result.output = reader.boolean("output").value_or(true);
  if (auto error = reader.finish()) return *error;
  return result;
}

Result<void> read_nothing(const nlohmann::json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  if (auto error = reader.finish()) return *error;
  return {};
}

}  // namespace agenttask::agent
