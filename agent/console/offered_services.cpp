#include "agent/console/offered_services.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

const json& list_in(const json& object, const char* name) {
  static const json none = json::array();
  const json* list = member_of(object, name);
  return list != nullptr && list->is_array() ? *list : none;
}

bool holds(const json& worker, const char* what, const std::string& name) {
  const json& list = list_in(worker, what);
  return std::find(list.begin(), list.end(), json(name)) != list.end();
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> names_offered(const json& workers, const char* what) {
  std::vector<std::string> names;
  for (const json& worker : list_in(workers, "workers")) {
    if (!text_of(worker, "problem").empty()) continue;
    for (const json& name : list_in(worker, what)) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
  }
  return names;
}

std::optional<Error> why_not_offered(const json& workers, const std::string& service) {
  const auto types = names_offered(workers, "types");
  if (std::find(types.begin(), types.end(), "service") == types.end()) {
    return Error{ErrorCode::unavailable,
                 "this device takes no calls of services: its setting `workers` leaves service out"};
  }
  const auto offered = names_offered(workers, "services");
  if (std::find(offered.begin(), offered.end(), service) != offered.end()) return std::nullopt;
  std::string message = "no worker of this device offers the service " + service;
  std::string rest =
      offered.empty() ? "; agenttask workers lists the workers" : "; there is: " + joined(offered);
  for (const json& worker : list_in(workers, "workers")) {
    const std::string problem = text_of(worker, "problem");
    if (problem.empty() || !holds(worker, "services", service)) continue;
    rest = "; the worker " + text_of(worker, "name") + ", which would, is refused: " + problem;
  }
  return Error{ErrorCode::not_found, message + rest + "; --detach keeps the call until one does"};
}

}  // namespace agenttask::console
