#include "agent/console/json_access.hpp"

#include <nlohmann/json.hpp>

namespace agenttask::console {

using nlohmann::json;

const json* member_of(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string text_of(const json& object, const char* name) {
  const json* value = member_of(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

std::optional<std::int64_t> integer_of(const json& object, const char* name) {
  const json* value = member_of(object, name);
  if (value == nullptr || !value->is_number_integer()) return std::nullopt;
  return value->get<std::int64_t>();
}

bool flag_of(const json& object, const char* name) {
  const json* value = member_of(object, name);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

}  // namespace agenttask::console
