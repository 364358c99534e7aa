#include "agent/runner/survivors.hpp"

#include <algorithm>

namespace agenttask::agent {

void share_unclaimed(const std::vector<os::ProcessInfo>& together,
                     std::vector<std::vector<os::ProcessInfo>>& of_each) {
  std::vector<os::ProcessInfo> unclaimed;
  for (const os::ProcessInfo& process : together) {
    const auto is_it = [&](const os::ProcessInfo& one) { return one.pid == process.pid; };
    const auto claims = [&](const auto& survivors) {
      return std::any_of(survivors.begin(), survivors.end(), is_it);
    };
    if (std::none_of(of_each.begin(), of_each.end(), claims)) unclaimed.push_back(process);
  }
  for (auto& survivors : of_each) survivors.insert(survivors.end(), unclaimed.begin(), unclaimed.end());
}

}  // namespace agenttask::agent
