#include "server/store/clock_watch.hpp"

#include <algorithm>

namespace agenttask::server {

DurationMilliseconds ClockWatch::jump(UnixMilliseconds now, DurationMilliseconds since_boot) const {
  if (seen_) {
    const auto gained = (now - seen_->wall) - (since_boot - seen_->since_boot);
    return gained > kLargestStep ? gained : 0;
  }
  if (!stored_) return 0;
  const auto away = now - stored_->seen_at;
  return away > kLongestAbsence ? away : 0;
}

ClockWatch::Look ClockWatch::look(const std::optional<ClockRecord>& stored) {
  if (!seen_ && stored) {
    stored_ = stored;
    keep_until_ = stored->keep_until;
  }
  Look look;
  look.now = clock_.wall();
  const auto since_boot = clock_.since_boot();
  look.jumped = jump(look.now, since_boot);
  if (look.jumped > 0) keep_until_ = look.now + keep_;
  // A clock that went back must not prolong it for years.
  keep_until_ = std::min(keep_until_, look.now + keep_);
  look.may_remove = look.now >= keep_until_;
  const bool due = !stored_ || look.now - stored_->seen_at >= kStoreEvery || look.now < stored_->seen_at;
  if (due || keep_until_ != stored_->keep_until) look.to_store = ClockRecord{look.now, keep_until_};
  seen_ = Seen{look.now, since_boot};
  return look;
}

}  // namespace agenttask::server
