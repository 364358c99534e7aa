#pragma once
#include <cstddef>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

/// The arguments that many calls of the console have, read as strictly as all of them.
namespace agenttask::agent {

constexpr std::size_t kIdBytes = 64;  ///< of an id, or the end of one, or @last; also of a call's name

/// The one argument of most calls; `output` only where the call knows it.
struct IdArgument {
  std::string id;
  bool output = true;
};
[[nodiscard]] Result<IdArgument> read_id(const nlohmann::json& arguments, bool with_output = false);

/// For calls that take none.
[[nodiscard]] Result<void> read_nothing(const nlohmann::json& arguments);

}  // namespace agenttask::agent
