#include "agent/console/service_words.hpp"

#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/task_words.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {

using nlohmann::json;

void add_service_words(CLI::App& verb, ServiceWords& words) {
  verb.add_option("NAME", words.service, "The service")->type_name("")->required();
  verb.add_option("CALL", words.method, "What it shall do: one of its methods")->type_name("")->required();
  verb.add_option("--data", words.arguments, "Arguments of the call: a JSON object, @FILE or -")
      ->type_name("JSON");
}

Result<json> service_data(const ServiceWords& words) {
  json data{{"service", words.service}, {"method", words.method}};
  if (!words.arguments.empty()) {
    auto arguments = data_argument(words.arguments);
    if (!arguments) return with_context(arguments.error(), "--data");
    data["arguments"] = std::move(*arguments);
  }
  return Result<json>(boost::system::in_place_value, std::move(data));
}

std::string service_answer(const std::string& data) {
  const auto value = parse_json(data, limits::kJsonDepth + 16);
  const json* answer = value ? member_of(*value, "answer") : nullptr;
  if (answer == nullptr) return data;
  return answer->is_string() ? answer->get<std::string>() : encode_json(*answer);
}

}  // namespace agenttask::console
