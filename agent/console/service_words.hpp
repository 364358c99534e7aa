#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/console.hpp"
#include "platform/base/error.hpp"

/// The call of a service on the command line, the same on the device and with fleet.
namespace agenttask::console {

struct ServiceWords {
  std::string service;
  std::string method;
  std::string arguments;
};
/// NAME, CALL and --data.
void add_service_words(CLI::App& verb, ServiceWords& words);

/// `data` of the task that makes the call.
[[nodiscard]] Result<nlohmann::json> service_data(const ServiceWords& words);

/// What to print of the `data` of its result: a text as it is, every other answer as JSON.
[[nodiscard]] std::string service_answer(const std::string& data);

}  // namespace agenttask::console
