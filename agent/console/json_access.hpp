#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

/// Members of an answer that may be missing or of another type: then there is nothing, never an exception.
namespace agenttask::console {

[[nodiscard]] const nlohmann::json* member_of(const nlohmann::json& object, const char* name);
[[nodiscard]] std::string text_of(const nlohmann::json& object, const char* name);
[[nodiscard]] std::optional<std::int64_t> integer_of(const nlohmann::json& object, const char* name);
[[nodiscard]] bool flag_of(const nlohmann::json& object, const char* name);

}  // namespace agenttask::console
