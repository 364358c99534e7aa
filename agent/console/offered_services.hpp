#pragma once
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

/// What the agent's answer to `getWorkers` says of types and services.
namespace agenttask::console {

/// Task types that a worker runs, or services that one offers (`types`, `services`); those of workers that
/// are refused are left out.
[[nodiscard]] std::vector<std::string> names_offered(const nlohmann::json& workers, const char* what);

/// Nothing where `service` can be called on this device now; otherwise why not, and what can.
[[nodiscard]] std::optional<Error> why_not_offered(const nlohmann::json& workers, const std::string& service);

}  // namespace agenttask::console
