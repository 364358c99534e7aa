#pragma once
#include <cstdint>
#include <filesystem>
#include <mutex>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// Room on a disk that is kept for the day when there is no other: a file that holds it, and that goes when
/// the room is needed. Threads: any. Crash: the file stays, and so does the room.
class ReservedRoom {
 public:
  /// Nothing is taken yet. `bytes` at most; a thirty-second of a small disk.
  ReservedRoom(std::filesystem::path file, std::int64_t bytes) : file_(std::move(file)), bytes_(bytes) {}

  /// Takes the room where it is not taken already, which is quick to find out. `limit` when the disk is too
  /// full for it; `denied` and `io` as for any file.
  [[nodiscard]] Result<void> take();
  /// Gives the room to whoever writes next. False: there was none to give.
  bool give_up();

 private:
  const std::filesystem::path file_;
  const std::int64_t bytes_;
  std::mutex mutex_;
};

}  // namespace agenttask::os
