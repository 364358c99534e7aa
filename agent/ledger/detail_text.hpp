#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace agenttask::agent {

/// What a detail may have at most: half of what the wire takes, as some are put together of two.
constexpr std::size_t kDetailBytes = 2000;

/// `text` as it may stand in a task's `detail`: UTF-8 and not too long. Messages quote what others wrote, so
/// they may be neither.
[[nodiscard]] std::string to_detail(std::string_view text);

}  // namespace agenttask::agent
