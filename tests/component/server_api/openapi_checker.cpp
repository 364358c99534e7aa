#include "tests/component/server_api/openapi_checker.hpp"

#include <algorithm>
#include <cctype>

namespace agenttask::server::test {
namespace {

using nlohmann::json;

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  return type == "null" && value.is_null();
}

bool fits_type(const json& value, const json& type) {
  if (type.is_string()) return has_type(value, type.get<std::string>());
  return std::any_of(type.begin(), type.end(),
                     [&](const json& each) { return has_type(value, each.get<std::string>()); });
}

}  // namespace

void OpenapiChecker::check(const json& value, const json& schema, const std::string& where,
                           std::vector<std::string>& faults) const {
  if (schema.contains("$ref")) {
    return check(value, document_.at(json::json_pointer(schema["$ref"].get<std::string>().substr(1))), where,
                 faults);
  }
  if (schema.contains("oneOf")) {
    std::vector<std::string> best;
    for (const auto& each : schema["oneOf"]) {
      std::vector<std::string> found;
      check(value, each, where, found);
      if (found.empty()) return;
      if (best.empty() || found.size() < best.size()) best = std::move(found);
    }
    faults.insert(faults.end(), best.begin(), best.end());
    return;
  }
  if (schema.contains("type") && !fits_type(value, schema["type"])) {
    faults.push_back(where + " has the wrong type: " + value.dump().substr(0, 100));
    return;
  }
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    faults.push_back(where + " is not in the list: " + value.dump());
  }
  if (value.is_array() && schema.contains("items")) {
    for (std::size_t i = 0; i < value.size(); ++i)
      check(value[i], schema["items"], where + "[" + std::to_string(i) + "]", faults);
  }
  if (!value.is_object()) return;
  for (const auto& name : schema.value("required", json::array())) {
    if (!value.contains(name.get<std::string>()))
      faults.push_back(where + ("." + name.get<std::string>()) + " is missing");
  }
  const json properties = schema.value("properties", json::object());
  for (const auto& [name, member] : value.items()) {
    std::string path = where;
    path.append(".").append(name);
    if (properties.contains(name)) {
      check(member, properties[name], path, faults);
    } else if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object()) {
      check(member, schema["additionalProperties"], path, faults);
    } else if (schema.contains("additionalProperties") && schema["additionalProperties"] == false) {
      faults.push_back(path + " is not documented");
    }
  }
}

std::vector<std::string> OpenapiChecker::faults(const json& value, const std::string& schema_name) const {
  std::vector<std::string> found;
  check(value, document_["components"]["schemas"].at(schema_name), schema_name, found);
  return found;
}

std::vector<std::string> OpenapiChecker::faults(const std::string& method, const std::string& path,
                                                int status, const std::string& media,
                                                const std::string& body) const {
  std::string verb = method;
  for (char& c : verb) c = static_cast<char>(std::tolower(c));
  const auto& responses = document_["paths"].at(path).at(verb)["responses"];
  const auto response = responses.find(std::to_string(status));
  if (response == responses.end())
    return {"status " + std::to_string(status) + " is not documented: " + body};
  const auto content = (*response)["content"].find(media);
  if (content == (*response)["content"].end()) return {"media type " + media + " is not documented"};
  std::vector<std::string> found;
  if (media.find("json") == std::string::npos || media == "application/x-ndjson") return found;
  const json value = json::parse(body);
  check(value, (*content)["schema"], "body", found);
  if (status >= 400) {
    const auto& codes = (*response)["x-codes"];
    if (std::find(codes.begin(), codes.end(), value["code"]) == codes.end()) {
      found.push_back("code " + value["code"].dump() + " is not documented here");
    }
  }
  return found;
}

}  // namespace agenttask::server::test
