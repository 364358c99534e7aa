#include "server/store/commit_points.hpp"
#include "tests/under_test/kill_at_commit_point.hpp"

namespace agenttask::test {

std::span<const CommitPoint> known_commit_points() {
  return server::commit_point::kAll;
}

}  // namespace agenttask::test
