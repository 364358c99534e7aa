#pragma once
#include <vector>

#include "platform/os/process.hpp"

namespace agenttask::agent {

/// Adds to what survived of each run what survived of all of them together and none of them claims: it may be
/// of any, so each counts it as its own. What a run claims stays with those that claim it.
void share_unclaimed(const std::vector<os::ProcessInfo>& together,
                     std::vector<std::vector<os::ProcessInfo>>& of_each);

}  // namespace agenttask::agent
