#pragma once
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tests/bench/load/event_loop.hpp"

namespace agenttask::bench {

/// Times that were measured, and what is said of them.
class Samples {
 public:
  void add(Time begin, Time end) {
    milliseconds_.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  [[nodiscard]] std::size_t size() const { return milliseconds_.size(); }
  /// `{"count","mean","p50","p90","p99","most"}`, in milliseconds.
  [[nodiscard]] nlohmann::json to_json();

 private:
  std::vector<double> milliseconds_;
};

[[nodiscard]] inline double seconds_between(Time begin, Time end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace agenttask::bench
