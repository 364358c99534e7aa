#pragma once
#include <span>

#include "platform/base/commit_point.hpp"

namespace agenttask::test {

/// Those of the program that is linked with this.
[[nodiscard]] std::span<const CommitPoint> known_commit_points();

}  // namespace agenttask::test
