// Times as people type them.
#include <cstdlib>
#include <ctime>

#include "agent/console/time_text.hpp"
#include "platform/base/encoding.hpp"
#include "platform/protocol/limits.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

/// A zone whose clocks change, wherever this runs; in the words of POSIX, which need no files.
void use_one_zone() {
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);  // NOLINT(concurrency-mt-unsafe)
  ::tzset();
}

void hold_time(std::string_view text, UnixMilliseconds now) {
  const auto time = console::parse_time(text, now);
  if (!time) return hold_refusal(time.error());
  hold(*time >= 0 && *time <= limits::kLatestTime, "a time is one that a task may have");
  hold(!console::format_time(*time).empty(), "a time can be shown");
  if (*time > limits::kLatestTime - limits::kDay) return;  // where clocks show the year 10000
  // To the second, as it is shown: what we print can be typed again. Not in the hour that is there twice.
  const auto again = console::parse_time(console::format_time(*time), now);
  constexpr std::int64_t kHour = 3'600'000;
  const auto whole = *time / 1000 * 1000;
  hold(again && (*again == whole || *again == whole - kHour), "a time that is shown can be typed",
       console::format_time(*time));
}

}  // namespace

void human_times(std::string_view bytes) {
  static const bool ready = (use_one_zone(), true);
  (void)ready;
  if (!is_utf8(bytes)) return;  // arguments of a command line; what is printed is made printable elsewhere
  // Winter, the hour before clocks go forward, the hour that comes twice.
  for (const UnixMilliseconds now : {1'800'000'000'000, 1'806'193'800'000, 1'824'942'600'000})
    hold_time(bytes, now);
  const auto duration = console::parse_duration(bytes);
  if (duration) {
    hold(*duration >= 0 && *duration <= limits::kLatestTime, "a duration is bounded");
    const auto again = console::parse_duration(console::format_interval(*duration));
    hold(again && *again == *duration, "a duration that is shown can be typed",
         console::format_interval(*duration));
  } else {
    hold_refusal(duration.error());
  }
  const auto interval = console::parse_interval(bytes);
  if (!interval) return hold_refusal(interval.error());
  hold(*interval >= limits::kShortestInterval && *interval <= limits::kLongestInterval,
       "an interval is bounded");
}

}  // namespace agenttask::fuzz
