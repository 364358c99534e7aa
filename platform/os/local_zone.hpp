#pragma once
#include <cstdint>
#include <ctime>
#include <optional>

/// The zone of this machine's wall clock (of the user, where he has another). Threads: any.
namespace agenttask::os {

/// What the wall shows at this second of Unix time; nothing when the system can't tell.
[[nodiscard]] std::optional<std::tm> wall_clock_at(std::int64_t seconds);

/// By how many seconds the wall is ahead of UTC at this second of Unix time.
[[nodiscard]] std::optional<std::int64_t> utc_offset_at(std::int64_t seconds);

}  // namespace agenttask::os
