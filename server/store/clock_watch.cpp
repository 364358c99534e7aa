#include "server/store/clock_watch.hpp"

#include <cstdlib>

namespace agenttask::server {

LookAtClocks ClockWatch::look(const std::optional<LivedTime>& stored) {
  if (!looked_ && stored) lived_ = *stored;
  looked_ = true;
  LookAtClocks look;
  const auto moved = lived_.look(clock_, boot_id_);
  look.now = lived_.wall;
  look.lived = lived_.total;
  look.moved = std::abs(moved) > kLargestStep ? moved : 0;
  if (!stored_ || lived_.total - *stored_ >= kStoreEvery || look.moved != 0) look.to_store = lived_;
  return look;
}

}  // namespace agenttask::server
