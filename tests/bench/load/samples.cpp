#include "tests/bench/load/samples.hpp"

#include <algorithm>
#include <numeric>

#include <nlohmann/json.hpp>

namespace agenttask::bench {

nlohmann::json Samples::to_json() {
  if (milliseconds_.empty()) return {{"count", 0}};
  std::sort(milliseconds_.begin(), milliseconds_.end());
  const auto rank = [&](double share) {
    const auto at = static_cast<std::size_t>(share * static_cast<double>(milliseconds_.size()));
    return milliseconds_[std::min(at, milliseconds_.size() - 1)];
  };
  const double sum = std::accumulate(milliseconds_.begin(), milliseconds_.end(), 0.0);
  return {{"count", milliseconds_.size()},
          {"mean", sum / static_cast<double>(milliseconds_.size())},
          {"p50", rank(0.5)},
          {"p90", rank(0.9)},
          {"p99", rank(0.99)},
          {"most", milliseconds_.back()}};
}

}  // namespace agenttask::bench
