#pragma once
#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// The lines of a local stream, and what came after the last of them. Private to platform/os. Threads: one.
class LineBuffer {
 public:
  /// Reads what is there, as `LocalStream::read_some` does; a zero timeout waits for ever.
  using ReadSome =
      std::function<Result<std::size_t>(std::span<char> into, std::chrono::milliseconds timeout)>;

  /// As `LocalStream::read_line`.
  Result<std::optional<std::string>> next(std::size_t most, std::chrono::milliseconds timeout,
                                          const ReadSome& read_some);

 private:
  std::string unread_;
};

}  // namespace agenttask::os
