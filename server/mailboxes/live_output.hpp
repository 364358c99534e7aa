#pragma once
#include <memory>

#include "server/api/live_output.hpp"
#include "server/mailboxes/mailboxes.hpp"

namespace agenttask::server {

/// What one follower may have waiting, in memory: past it the oldest chunks are dropped.
constexpr std::size_t kFollowerBytes = 1024 * 1024;

/// The hub in memory: one queue for each follower, wake-ups through `mailboxes`, which must outlive it.
[[nodiscard]] std::unique_ptr<LiveOutput> make_live_output(Mailboxes& mailboxes);

}  // namespace agenttask::server
