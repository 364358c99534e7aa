#pragma once
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// A point in time as people type it: milliseconds since the Unix epoch (`1763788200000`), ISO 8601 with a
/// zone
/// (`2026-11-22T05:10:00Z`, `…+01:00`) or without (local time; seconds and the clock time may be missing), or
/// from now
/// (`+90s`). `invalid` with what is accepted otherwise.
[[nodiscard]] Result<UnixMilliseconds> parse_time(std::string_view text, UnixMilliseconds now);

/// A duration as people type it: `500ms`, `30s`, `2m`, `1h`, `7d`, `0`. Another bare number is refused: the
/// API means milliseconds by it, and people seconds.
[[nodiscard]] Result<DurationMilliseconds> parse_duration(std::string_view text);

/// `2026-11-22 05:10:00` in local time.
[[nodiscard]] std::string format_time(UnixMilliseconds time);
/// `2026-11-22 05:10:00 (3m 5s ago)`, `(in 2h)`, `(just now)`.
[[nodiscard]] std::string format_time(UnixMilliseconds time, UnixMilliseconds now);
/// `850ms`, `12.3s`, `4m 5s`, `3h 12m`, `2d 4h`; never negative.
[[nodiscard]] std::string format_duration(DurationMilliseconds duration);
/// `just now`, `12s ago`, `3m ago`, `2d ago`: for tables.
[[nodiscard]] std::string format_age(DurationMilliseconds age);
/// `512 B`, `1.5 KiB`, `20 MiB`.
[[nodiscard]] std::string format_bytes(std::int64_t bytes);

}  // namespace agenttask::console
