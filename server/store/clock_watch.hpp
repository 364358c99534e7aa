#pragma once
#include <optional>
#include <string>
#include <utility>

#include "platform/base/clock.hpp"
#include "platform/base/lived_time.hpp"

namespace agenttask::server {

/// What the clocks say when somebody looks.
struct LookAtClocks {
  UnixMilliseconds now = 0;             ///< the wall clock
  DurationMilliseconds lived = 0;       ///< how long the store has lived: ages count by this
  DurationMilliseconds moved = 0;       ///< by how much the wall clock was set since the last look; 0: not
  std::optional<LivedTime> to_store{};  ///< this belongs into the store now
};

/// How long the store has lived, from look to look and across restarts. Threads: one at a time.
class ClockWatch {
 public:
  /// What the wall clock may gain or lose between two looks: drift, and corrections by a time service.
  static constexpr DurationMilliseconds kLargestStep = 3'600'000;
  /// How often a look is stored. What came after the last one is lost only where the machine ends, too.
  static constexpr DurationMilliseconds kStoreEvery = 3'600'000;

  ClockWatch(const Clock& clock, std::string boot_id) : clock_(clock), boot_id_(std::move(boot_id)) {}

  /// `stored`: what the store says; counts at the first look only.
  [[nodiscard]] LookAtClocks look(const std::optional<LivedTime>& stored);
  /// What the last look gave is on disk.
  void is_stored() { stored_ = lived_.total; }

 private:
  const Clock& clock_;
  std::string boot_id_;
  LivedTime lived_;
  std::optional<DurationMilliseconds> stored_;  ///< lived time when it was stored in this process
  bool looked_ = false;
};

}  // namespace agenttask::server
