#pragma once
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/clock.hpp"

/// What the agent's answer to `status` says about its health.
namespace agenttask::console {

/// Who holds the device, as the agent names it: `device` is somebody at this console.
[[nodiscard]] std::string describe_holder(const std::string& held_by);

// Exit codes of `status`.
constexpr int kHealthy = 0;
constexpr int kDegraded = 1;
constexpr int kNotRunning = 3;

struct Health {
  std::vector<std::string> problems;  ///< each a sentence with what to do
  std::string page;                   ///< for people
};

[[nodiscard]] Health read_status(const nlohmann::json& answer, UnixMilliseconds now);

/// A clock that is further off than this is worth a warning (contract section 5).
constexpr DurationMilliseconds kClockTolerance = 30'000;

}  // namespace agenttask::console
