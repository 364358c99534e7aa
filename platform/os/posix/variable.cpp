#include "platform/os/variable.hpp"

#include <cstdlib>

namespace agenttask::os {

std::optional<std::string> read_variable(const std::string& name) {
  const char* const value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): see the header
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace agenttask::os
