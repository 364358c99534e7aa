#pragma once
#include <optional>

#include "platform/base/clock.hpp"

namespace agenttask::console {

/// A time as a clock on the wall of this machine's time zone shows it.
struct LocalTime {
  int year = 1970;
  int month = 1;  ///< from 1
  int day = 1;    ///< from 1
  int hour = 0;
  int minute = 0;
  int second = 0;
  int millisecond = 0;
};

/// What the wall shows at `time`, in the zone that TZ or the system names.
[[nodiscard]] std::optional<LocalTime> to_local(UnixMilliseconds time);

/// When the wall shows `local`. A time that is there twice, as clocks are put back, is the first of the two;
/// one that is left out, as they are put forward, is as much later as was left out (02:30 becomes 03:30).
/// Nothing for a date that does not exist, or one before 1970.
[[nodiscard]] std::optional<UnixMilliseconds> from_local(const LocalTime& local);

/// The same time of day, `days` later.
[[nodiscard]] LocalTime add_days(LocalTime local, int days);

/// 0 Sunday to 6 Saturday.
[[nodiscard]] unsigned weekday_of(const LocalTime& local);

}  // namespace agenttask::console
