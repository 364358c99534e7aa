#pragma once
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// A point in time as people type it, in local time where no zone is given:
/// - `tomorrow 09:00`, `today 18:30`, `monday 8:00` (the next one, today included), `09:00` (the next time
///   that a clock shows it), each also as `9am`, `9:30 pm`, `at 9`, `noon`; `midnight` (the next one);
/// - from now: `+90s`, `in 2h`, `in 1 day 6 hours`, `in a week`; `now`;
/// - ISO 8601: `2026-11-22T05:10:00Z`, `…+01:00`, `2026-11-22 05:10`, `2026-11-22`;
/// - milliseconds since the Unix epoch: `1763788200000`.
/// A local time that a change of the clocks leaves out is as much later as was left out; one that is there
/// twice is the first of the two. `invalid` with what is accepted otherwise.
[[nodiscard]] Result<UnixMilliseconds> parse_time(std::string_view text, UnixMilliseconds now);

/// A duration as people type it: `500ms`, `30s`, `1h30m`, `1d 12h`, `2 weeks`, `0`; each unit once, the large
/// ones first. Another bare number is refused: the API means milliseconds by it, and people seconds.
[[nodiscard]] Result<DurationMilliseconds> parse_duration(std::string_view text);

/// How often: a duration that `schedule.updateInterval` may have, or `minute`, `hour`, `day`, `week`. A day
/// is 24 hours, also when the clocks change.
[[nodiscard]] Result<DurationMilliseconds> parse_interval(std::string_view text);

/// `2026-11-22 05:10:00` in local time.
[[nodiscard]] std::string format_time(UnixMilliseconds time);
/// `2026-11-22 05:10:00 (3m 5s ago)`, `(in 2h)`, `(just now)`.
[[nodiscard]] std::string format_time(UnixMilliseconds time, UnixMilliseconds now);
/// `850ms`, `12.3s`, `4m 5s`, `3h 12m`, `2d 4h`; never negative.
[[nodiscard]] std::string format_duration(DurationMilliseconds duration);
/// All of it: `1d 2h 3m`, `90s` as `1m 30s`.
[[nodiscard]] std::string format_interval(DurationMilliseconds interval);
/// `just now`, `12s ago`, `3m ago`, `2d ago`: for tables.
[[nodiscard]] std::string format_age(DurationMilliseconds age);
/// `512 B`, `1.5 KiB`, `20 MiB`.
[[nodiscard]] std::string format_bytes(std::int64_t bytes);

}  // namespace agenttask::console
