#include "platform/os/line_buffer.hpp"

#include <algorithm>
#include <array>

namespace agenttask::os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kReadBytes = 16 * 1024;

/// What is left of a limit, at least a millisecond; zero, for ever, where there is none.
milliseconds left_of(milliseconds timeout, steady_clock::time_point began) {
  if (timeout.count() == 0) return timeout;
  const auto left = std::chrono::ceil<milliseconds>(began + timeout - steady_clock::now());
  return std::max(left, milliseconds(1));
}

}  // namespace

Result<std::optional<std::string>> LineBuffer::next(std::size_t most, milliseconds timeout,
                                                    const ReadSome& read_some) {
  const auto began = steady_clock::now();
  std::size_t searched = 0;
  std::array<char, kReadBytes> chunk;
  for (;;) {
    const auto newline = unread_.find('\n', searched);
    if (newline != std::string::npos ? newline > most : unread_.size() > most) {
      return Error{ErrorCode::limit,
                   "a line on the local connection has more than " + std::to_string(most) + " bytes"};
    }
    if (newline != std::string::npos) {
      auto line = unread_.substr(0, newline);
      unread_.erase(0, newline + 1);
      return line;
    }
    searched = unread_.size();
    const auto count = read_some(chunk, left_of(timeout, began));
    if (!count) return count.error();
    if (*count == 0 && unread_.empty()) return std::optional<std::string>();
    if (*count == 0) return Error{ErrorCode::invalid, "the local connection ended in the middle of a line"};
    unread_.append(chunk.data(), *count);
  }
}

}  // namespace agenttask::os
